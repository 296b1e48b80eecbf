from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from iris_demo.kube import KubeClient
from iris_demo.resources import DEPLOYMENTS
from support.e2e.given import Given
from support.e2e.monitoring import STATEFUL_SETS, AlertReceiver, receive_alerts, scale
from support.e2e.scenario import NAMESPACE
from support.e2e.then import Then
from support.e2e.when import When

# For alerts that have to last half a minute, on a busy machine.
SECONDS = 150.0


@pytest.fixture
async def alerts(kube: KubeClient) -> AsyncIterator[AlertReceiver]:
    async with receive_alerts(kube) as received:
        yield received


@pytest.fixture
async def stores_return(kube: KubeClient) -> AsyncIterator[None]:
    """Redis and PostgreSQL may be taken away, and are back afterwards."""
    yield
    await scale(kube, DEPLOYMENTS, NAMESPACE, "redis", 1)
    await scale(kube, STATEFUL_SETS, NAMESPACE, "postgres", 1)


@pytest.mark.usefixtures("stores_return")
async def test_alerts_are_sent_for_bad_versions_and_unavailable_stores(
    given: Given, when: When, then: Then, alerts: AlertReceiver, kube: KubeClient
) -> None:
    await given.a_stable_release("2.0.0")
    await given.traffic()
    release = {"namespace": NAMESPACE, "release": then.kubectl_resource.removeprefix("imr/")}

    await when.apply("3.0.0")
    await then.is_rolled_back("3.0.0", stable="2.0.0", reason="ErrorRate")
    rolled_back = await alerts.wait_for_firing("IrisReleaseRolledBack", SECONDS, **release, version="3.0.0")
    assert rolled_back.receiver == "team"
    assert "Version 3.0.0" in rolled_back.annotations["summary"]
    assert "ErrorRate" in rolled_back.annotations["summary"]
    burning = await alerts.wait_for_firing("IrisErrorBudgetBurnsFast", SECONDS, **release, version="3.0.0")
    assert burning.receiver == "pager"
    assert burning.annotations["summary"].startswith("100% of the last hour's requests to version 3.0.0")

    await scale(kube, DEPLOYMENTS, NAMESPACE, "redis", 0)
    await scale(kube, STATEFUL_SETS, NAMESPACE, "postgres", 0)
    await when.apply("5.0.0")
    await then.is_rolled_back("5.0.0", stable="2.0.0", reason="Crash")
    crashed = await alerts.wait_for_firing("IrisCanaryNeverReady", SECONDS, **release, version="5.0.0")
    assert (crashed.receiver, crashed.labels["reason"]) == ("pager", "Crash")
    away = await alerts.wait_for_firing("IrisCacheAway", SECONDS, **release)
    assert away.receiver == "team"
    waiting = await alerts.wait_for_firing("IrisDatabaseAway", SECONDS, **release)
    assert "the oldest has waited for" in waiting.annotations["summary"]

    # Neither inhibited alerts nor those that do not hold.
    assert "IrisReleaseRolledBack" not in alerts.names(**release, version="5.0.0")
    assert not alerts.names(**release) & {"IrisServiceUnavailable", "IrisReleaseDegraded", "IrisOperatorNotReconciling"}
    assert "IrisWatchdog" in alerts.names()
    await then.only_the_canary_failed("3.0.0")
