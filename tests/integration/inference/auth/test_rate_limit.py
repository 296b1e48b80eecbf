"""The rate of one key over several pods, with a real Redis that is stopped and started."""

import threading
import time

import httpx
import pytest
from redis import Redis

from iris_inference import metric_names
from iris_inference.auth import rate_limit_sync
from iris_inference.auth.keys import ApiKey
from support.inference.api import FLOWER, Api
from support.inference.keys import bearer, new_key
from support.inference.models import Exported
from support.inference.process import Service, StartService
from support.inference.serving import Serve
from support.servers.redis import Redis as RedisServer
from support.waiting import eventually

# High enough that a burst does not depend on timing, and low enough for a busy machine to exceed.
RATE = 40.0
BURST = 20
SECONDS = 5.0
SYNC_SECONDS = 0.1
# The time of a synchronization on a busy machine, in addition to the interval.
MAX_SYNC_DELAY = 0.4


@pytest.fixture
def key(postgres_url: str) -> ApiKey:
    return new_key(postgres_url, rate=RATE, burst=BURST)


@pytest.fixture
def pods(
    exported: Exported, start_service: StartService, postgres_url: str, redis_url: str, key: ApiKey
) -> list[Service]:
    """Two processes that know the key from the start, and share only Redis."""
    del key
    return [
        start_service(exported("1.0.0"), DATABASE_URL=postgres_url, REDIS_URL=redis_url, IRIS_AUTH="required")
        for _ in range(2)
    ]


def count_allowed(pods: list[Service], key: ApiKey, seconds: float) -> tuple[list[int], float]:
    """Send requests to all pods, with one client each. Returns the allowed requests of each, and the seconds."""
    allowed = [0] * len(pods)
    started = time.monotonic()

    def call(number: int) -> None:
        with httpx.Client(base_url=pods[number].url, headers=bearer(key)) as client:
            while time.monotonic() - started < seconds:
                answer = client.post("/v1/predict", json={"instances": [FLOWER]})
                assert answer.status_code in {200, 429}
                allowed[number] += answer.status_code == 200

    # pytest turns exceptions in threads into failures.
    clients = [threading.Thread(target=call, args=(number,)) for number in range(len(pods))]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return allowed, time.monotonic() - started


def test_two_pods_share_one_rate_and_exceed_it_by_a_bounded_amount(pods: list[Service], key: ApiKey) -> None:
    """Seen to fail without `correct`: each pod then enforces the rate by itself."""
    allowed, seconds = count_allowed(pods, key, SECONDS)
    limit = RATE * seconds + len(pods) * (BURST + RATE * (SYNC_SECONDS + MAX_SYNC_DELAY))
    assert sum(allowed) <= limit, allowed
    # And the key gets its full rate.
    assert sum(allowed) >= 0.9 * RATE * seconds, allowed
    # The excess of the first period is compensated: from here on there is no burst and no second bucket.
    allowed, seconds = count_allowed(pods, key, SECONDS)
    assert sum(allowed) <= RATE * seconds + len(pods) * RATE * (SYNC_SECONDS + MAX_SYNC_DELAY), allowed
    assert sum(allowed) >= 0.8 * RATE * seconds, allowed
    assert all(pod.metric(metric_names.RATE_LIMIT_SYNC, result="ok") > 0 for pod in pods)


def test_without_redis_each_pod_enforces_the_rate_by_itself(
    pods: list[Service], key: ApiKey, redis_server: RedisServer
) -> None:
    redis_server.server.kill()
    try:
        allowed, seconds = count_allowed(pods, key, SECONDS)
    finally:
        redis_server.server.start()
    for each in allowed:
        assert 0.9 * RATE * seconds <= each <= RATE * seconds + BURST, allowed
    assert all(pod.metric(metric_names.RATE_LIMIT_SYNC, result="failed") > 0 for pod in pods)
    assert all(pod.metric(metric_names.RATE_LIMIT_SYNC, result="skipped") > 0 for pod in pods)


def test_no_request_waits_for_an_unresponsive_redis(
    exported: Exported,
    serve: Serve,
    postgres_url: str,
    redis_url: str,
    key: ApiKey,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So long that the order of an answer and of a settlement's end is no matter of how busy the machine is.
    monkeypatch.setattr(rate_limit_sync, "TIMEOUT_SECONDS", 5.0)
    pod = serve(exported("1.0.0"), DATABASE_URL=postgres_url, REDIS_URL=redis_url, auth="required")
    pod.client.headers.update(bearer(key))
    assert pod.predict(FLOWER).status_code == 200
    with redis_server.server.frozen():
        assert pod.predict(FLOWER).status_code == 200
        # A request that waited for the synchronization would be answered when that is given up.
        assert synchronizations(pod, "failed") == 0
        eventually(lambda: synchronizations(pod, "failed") > 0)


def test_garbage_in_redis_locks_no_key_out_and_is_recovered_from(
    exported: Exported, serve: Serve, postgres_url: str, redis_url: str, key: ApiKey
) -> None:
    """Seen to fail when an error of Redis ends the synchronization."""
    service: Api = serve(exported("1.0.0"), DATABASE_URL=postgres_url, REDIS_URL=redis_url, auth="required")
    service.client.headers.update(bearer(key))
    name = f"iris:rate:{key.key_id}"
    with Redis.from_url(redis_url) as redis:
        for garbage in ({"tokens": "x", "at": "y"}, {"tokens": "nan", "at": "0"}, {"tokens": "1e300", "at": "-1e300"}):
            redis.delete(name)
            redis.hset(name, mapping=garbage)
            assert service.predict(FLOWER).status_code == 200
        eventually(lambda: syncs(service, "ok") > 0)
        redis.delete(name)
        redis.set(name, "no hash at all")
        assert service.predict(FLOWER).status_code == 200
        eventually(lambda: syncs(service, "failed") > 0)
        redis.delete(name)
        before = syncs(service, "ok")
        assert service.predict(FLOWER).status_code == 200
        eventually(lambda: syncs(service, "ok") > before)


def syncs(service: Api, result: str) -> float:
    return service.metric(metric_names.RATE_LIMIT_SYNC, result=result)


def synchronizations(service: Api, result: str) -> float:
    return service.metric(metric_names.RATE_LIMIT_SYNC, result=result)
