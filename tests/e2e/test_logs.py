"""What docs/logs.md promises: each question is answered from the log store alone, by the query that stands there."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from iris_demo.access import create_key
from iris_demo.addresses import LOGS_URL
from iris_demo.kube import KubeClient
from iris_demo.load import connect
from iris_demo.resources import PODS, Resource
from iris_demo.traffic import wait_until_serving
from support.e2e.documented import queries
from support.e2e.given import Given
from support.e2e.scenario import NAMESPACE, Scenario
from support.e2e.then import Then
from support.e2e.when import When
from support.servers.victorialogs import Row, query_logs

STATEFUL_SETS = Resource("apis/apps/v1", "statefulsets")
# From a line to an answer that has it.
SHIPPED_SECONDS = 15.0
STORE_BACK_SECONDS = 60.0
INSTANCE = [6.3, 2.5, 4.9, 1.5]


async def answer(query: str, seconds: float = SHIPPED_SECONDS) -> list[Row]:
    """The rows, as soon as there are any."""
    deadline = time.monotonic() + seconds
    while not (rows := await asyncio.to_thread(query_logs, LOGS_URL, query)):
        assert time.monotonic() < deadline, f"no row after {seconds:.0f} s for {query}"
        await asyncio.sleep(0.3)
    return rows


async def predict(scenario: Scenario, request_id: str) -> str:
    """The predicted label of one instance, requested through the Ingress; ClientResponseError on failure."""
    async with (
        connect(scenario.load, timeout=aiohttp.ClientTimeout(10), raise_for_status=True) as session,
        session.post(
            scenario.load.url,
            json={"instances": [INSTANCE]},
            headers={"X-Request-ID": request_id},
            server_hostname=scenario.load.host,
        ) as response,
    ):
        return str((await response.json())["predictions"][0]["label"])


async def enable_requests(scenario: Scenario) -> None:
    """A key for the release, and a route that answers."""
    scenario.key = await create_key(scenario.kube, scenario.kubeconfig, NAMESPACE, scenario.name)
    await wait_until_serving(scenario.load, seconds=30)


async def test_a_request_is_found_with_its_payload_and_prediction_and_a_miss_is_counted(
    scenario: Scenario, given: Given
) -> None:
    await given.a_stable_release("2.0.0")
    await enable_requests(scenario)
    request_id = f"e2e-{uuid.uuid4()}"
    label = await predict(scenario, request_id)

    (query,) = queries("The payload and the prediction of a request", request_id=request_id)
    (row,) = await answer(query)

    assert (row["release"], row["version"], row["status"]) == (scenario.name, "2.0.0", "200")
    assert json.loads(row["features"]) == [INSTANCE]
    assert json.loads(row["predictions"]) == [label]

    misses, _ = queries("Cache misses and timeouts")
    counted = await answer(misses)
    assert [int(found["misses"]) > 0 for found in counted if found["release"] == scenario.name] == [True]


async def test_a_rollback_is_explained_from_logs_alone(
    scenario: Scenario, given: Given, when: When, then: Then
) -> None:
    await given.a_stable_release("2.0.0")
    await given.traffic()
    await when.apply("3.0.0")
    release = await then.is_rolled_back("3.0.0", stable="2.0.0", reason="ErrorRate")

    decisions, requests = queries("Why a release was rolled back", release=scenario.name, version="3.0.0")
    rows = await answer(decisions)
    messages = " ".join(row["_msg"] for row in rows if row["phase"] == "RollingBack")
    why = release.history[0].reason.partition(": ")[2]
    assert why
    assert why in messages

    rows = await answer(requests)
    assert {(row["version"], row["status"]) for row in rows if "status" in row} == {("3.0.0", "500")}


@asynccontextmanager
async def database_away(kube: KubeClient) -> AsyncIterator[None]:
    """PostgreSQL scaled to nothing, and back."""

    async def scale(replicas: int) -> None:
        await kube.merge_patch(STATEFUL_SETS, NAMESPACE, "postgres", {"spec": {"replicas": replicas}})
        await kube.wait_for(
            STATEFUL_SETS,
            NAMESPACE,
            "postgres",
            lambda found: found is not None and found["status"].get("availableReplicas", 0) == replicas,
            STORE_BACK_SECONDS,
        )
        if not replicas:
            await kube.wait_for(PODS, NAMESPACE, "postgres-0", lambda found: found is None, STORE_BACK_SECONDS)

    await scale(0)
    try:
        yield
    finally:
        await scale(1)


@pytest.mark.timeout(240)
async def test_database_trouble_is_in_the_logs_of_the_service_and_of_the_database(
    scenario: Scenario, given: Given, kube: KubeClient
) -> None:
    await given.a_stable_release("2.0.0")
    await enable_requests(scenario)
    (query,) = queries("Database trouble")
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    since = query.replace("}", f"}} _time:>={began}", 1)

    async with database_away(kube):
        await predict(scenario, f"e2e-{uuid.uuid4()}")
        rows = await answer(f"{since} | filter release:={scenario.name}")
        assert [row["error"] for row in rows if "does not accept records" in row["_msg"]]

    first, *_ = queries("What one looks at first")
    assert await asyncio.to_thread(query_logs, LOGS_URL, first) is not None
