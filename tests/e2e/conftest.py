from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.given_when_then import Given, Then, When
from e2e.scenario import Scenario, scenario
from iris_demo import setup
from iris_demo.kube import Kube, connect, local_kubeconfig, refuse_foreign_context

# A rollout takes its time; what bounds a scenario in earnest are the limits of its own waiting.
SCENARIO_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(SCENARIO_SECONDS))


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The local cluster's; any other is refused before anything is sent."""
    path = local_kubeconfig()
    refuse_foreign_context(path)
    return path


@pytest.fixture(scope="session")
def installed(kubeconfig: Path) -> Path:
    """The kubeconfig of the local cluster with this checkout's operator in it."""
    setup.install()
    return kubeconfig


@pytest.fixture
async def kube(installed: Path) -> AsyncIterator[Kube]:
    async with connect(installed) as connected:
        yield connected


@pytest.fixture
async def story(installed: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scenario]:
    """A release named after the test, watched from before it exists until it is gone."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    async with scenario(installed, f"e2e-{words}"[:40].rstrip("-")) as running:
        yield running


@pytest.fixture
def given(story: Scenario) -> Given:
    return Given(story)


@pytest.fixture
def when(story: Scenario) -> When:
    return When(story)


@pytest.fixture
def then(story: Scenario) -> Then:
    return Then(story)
