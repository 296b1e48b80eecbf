from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from iris_demo import setup
from iris_demo.kube import KubeClient, connect
from iris_demo.kubeconfig import local_kubeconfig, require_local_context
from support.e2e.given import Given
from support.e2e.scenario import PREFIX, Scenario, run_scenario, wait_until_all_deleted
from support.e2e.then import Then
from support.e2e.when import When

# A rollout takes its time; what bounds a scenario in earnest are the limits of its own waiting.
SCENARIO_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(SCENARIO_SECONDS))


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The local cluster's; any other is refused before anything is sent."""
    path = local_kubeconfig()
    require_local_context(path)
    return path


@pytest.fixture(scope="session")
def installed(kubeconfig: Path) -> Iterator[Path]:
    """The kubeconfig of the local cluster with this checkout's operator in it; no scenario leaves anything there."""
    setup.install()
    yield kubeconfig
    # A loop of its own: those of the tests last no longer than a test.
    asyncio.run(wait_until_all_deleted(kubeconfig))


@pytest.fixture
async def kube(installed: Path) -> AsyncIterator[KubeClient]:
    async with connect(installed) as connected:
        yield connected


@pytest.fixture
async def scenario(installed: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scenario]:
    """A release named after the test, watched from before it exists until it is gone."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    async with run_scenario(installed, f"{PREFIX}{words}"[:40].rstrip("-")) as running:
        yield running


@pytest.fixture
def given(scenario: Scenario) -> Given:
    return Given(scenario)


@pytest.fixture
def when(scenario: Scenario) -> When:
    return When(scenario)


@pytest.fixture
def then(scenario: Scenario) -> Then:
    return Then(scenario)
