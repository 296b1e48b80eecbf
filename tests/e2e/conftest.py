from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.given_when_then import Given, Then, When
from e2e.scenario import Scenario, scenario
from iris_demo.cost import OPERATOR_NAMESPACE
from iris_demo.kube import DEPLOYMENTS, Kube, connect, local_kubeconfig, refuse_foreign_context

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


@pytest.fixture
async def kube(kubeconfig: Path) -> AsyncIterator[Kube]:
    async with connect(kubeconfig) as connected:
        yield connected


@pytest.fixture
async def story(kubeconfig: Path, kube: Kube, request: pytest.FixtureRequest) -> AsyncIterator[Scenario]:
    """A release named after the test, watched from before it exists until it is gone."""
    await kube.until(DEPLOYMENTS, OPERATOR_NAMESPACE, "iris-operator", _available, 60)
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    async with scenario(kubeconfig, f"e2e-{words}"[:40].rstrip("-")) as running:
        yield running


def _available(deployment: dict[str, object] | None) -> bool:
    status = (deployment or {}).get("status")
    return isinstance(status, dict) and bool(status.get("availableReplicas"))


@pytest.fixture
def given(story: Scenario) -> Given:
    return Given(story)


@pytest.fixture
def when(story: Scenario) -> When:
    return When(story)


@pytest.fixture
def then(story: Scenario) -> Then:
    return Then(story)
