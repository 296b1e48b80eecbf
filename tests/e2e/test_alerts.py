from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from e2e.given_when_then import Given, Then, When
from e2e.monitoring import STATEFUL_SETS, Alerts, alerts, scale
from e2e.scenario import NAMESPACE
from iris_demo.kube import DEPLOYMENTS, Kube

# Of what has to last half a minute before somebody is told, on a machine that has other work.
SECONDS = 150.0


@pytest.fixture
async def told(kube: Kube) -> AsyncIterator[Alerts]:
    async with alerts(kube) as told:
        yield told


@pytest.fixture
async def stores_return(kube: Kube) -> AsyncIterator[None]:
    """Redis and PostgreSQL may be taken away, and are back afterwards."""
    yield
    await scale(kube, DEPLOYMENTS, NAMESPACE, "redis", 1)
    await scale(kube, STATEFUL_SETS, NAMESPACE, "postgres", 1)


@pytest.mark.usefixtures("stores_return")
async def test_people_are_told_of_bad_versions_and_of_stores_that_are_away(
    given: Given, when: When, then: Then, told: Alerts, kube: Kube
) -> None:
    await given.a_stable_release("2.0.0")
    await given.traffic()
    release = {"namespace": NAMESPACE, "release": then.resource.removeprefix("imr/")}

    await when.apply("3.0.0")
    await then.is_rolled_back("3.0.0", stable="2.0.0", reason="ErrorRate")
    rolled_back = await told.firing("IrisReleaseRolledBack", SECONDS, **release, version="3.0.0")
    assert rolled_back.receiver == "team"
    assert "Version 3.0.0" in rolled_back.annotations["summary"]
    assert "ErrorRate" in rolled_back.annotations["summary"]
    burning = await told.firing("IrisErrorBudgetBurnsFast", SECONDS, **release, version="3.0.0")
    assert burning.receiver == "pager"
    assert burning.annotations["summary"].startswith("100% of the last hour's requests to version 3.0.0")

    await scale(kube, DEPLOYMENTS, NAMESPACE, "redis", 0)
    await scale(kube, STATEFUL_SETS, NAMESPACE, "postgres", 0)
    await when.apply("5.0.0")
    await then.is_rolled_back("5.0.0", stable="2.0.0", reason="Crash")
    crashed = await told.firing("IrisCanaryNeverReady", SECONDS, **release, version="5.0.0")
    assert (crashed.receiver, crashed.labels["reason"]) == ("pager", "Crash")
    away = await told.firing("IrisCacheAway", SECONDS, **release)
    assert away.receiver == "team"
    waiting = await told.firing("IrisDatabaseAway", SECONDS, **release)
    assert "the oldest has waited for" in waiting.annotations["summary"]

    # Neither what is only a consequence, nor what is not so.
    assert "IrisReleaseRolledBack" not in told.names(**release, version="5.0.0")
    assert not told.names(**release) & {"IrisServiceUnavailable", "IrisReleaseDegraded", "IrisOperatorNotReconciling"}
    assert "IrisWatchdog" in told.names()
    await then.only_the_canary_failed("3.0.0")
