"""The tier in Redis alone: the one in memory is disabled."""

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from iris_inference import metric_names
from support.inference.api import FLOWER, Api
from support.inference.models import Exported
from support.inference.serving import Serve
from support.servers.redis import Redis as RedisServer
from support.waiting import eventually

OTHER = [6.3, 3.3, 6.0, 2.5]


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def lookups(service: Api, result: str) -> float:
    return service.metric(metric_names.CACHE_REQUESTS, tier="redis", result=result)


def test_a_repeated_prediction_comes_from_the_cache(
    exported: Exported, serve: Serve, redis_url: str, client: Redis
) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    first = service.predict(FLOWER, OTHER).json()
    eventually(lambda: client.dbsize() == 2)
    second = service.predict(OTHER, FLOWER).json()
    assert second["predictions"] == first["predictions"][::-1]
    assert (lookups(service, "miss"), lookups(service, "hit")) == (2, 2)
    assert service.timed() == {"local": 0, "redis": 1, "none": 1}
    assert service.metric(f"{metric_names.INFERENCE_DURATION}_count") == 1
    assert service.metric(metric_names.PREDICTIONS, **{"class": "setosa"}) == 2


def test_a_request_may_be_partly_cached(exported: Exported, serve: Serve, redis_url: str, client: Redis) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    service.predict(FLOWER)
    eventually(lambda: client.dbsize() == 1)
    labels = [prediction["label"] for prediction in service.predict(OTHER, FLOWER, OTHER).json()["predictions"]]
    assert labels == ["virginica", "setosa", "virginica"]
    assert service.timed() == {"local": 0, "redis": 0, "none": 2}


def test_a_version_never_gets_the_predictions_of_another(
    exported: Exported, serve: Serve, redis_url: str, client: Redis
) -> None:
    old = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    new = serve(exported("2.0.0"), REDIS_URL=redis_url, cache_entries=0)
    old_answer = old.predict(FLOWER).json()["predictions"]
    eventually(lambda: client.dbsize() == 1)
    assert new.predict(FLOWER).json()["predictions"] != old_answer
    assert (lookups(new, "hit"), lookups(new, "miss")) == (0, 1)


def test_pods_of_a_revision_share_the_cache_and_another_revision_of_the_same_model_begins_cold(
    exported: Exported, serve: Serve, redis_url: str, client: Redis
) -> None:
    stable, control = "abc123", "abc123-control-def456"
    one, other, beside = (
        serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0, revision=revision)
        for revision in (stable, stable, control)
    )
    one.predict(FLOWER)
    eventually(lambda: client.dbsize() == 1)
    other.predict(FLOWER)
    beside.predict(FLOWER)
    assert [(lookups(service, "hit"), lookups(service, "miss")) for service in (other, beside)] == [(1, 0), (0, 1)]


def test_entries_expire(exported: Exported, serve: Serve, redis_url: str, client: Redis) -> None:
    serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0, cache_ttl_seconds=100).predict(FLOWER)
    eventually(lambda: client.dbsize() == 1)
    (key,) = client.keys()
    assert 0 < client.ttl(key) <= 100


@pytest.mark.parametrize("corrupt", [b"", b"garbage", b"\0" * 34, b"x" * 1_000_000])
def test_a_corrupt_entry_is_not_served(
    exported: Exported, serve: Serve, redis_url: str, client: Redis, corrupt: bytes
) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    expected = service.predict(FLOWER).json()["predictions"]
    eventually(lambda: client.dbsize() == 1)
    (key,) = client.keys()
    client.set(key, corrupt)
    assert service.predict(FLOWER).json()["predictions"] == expected
    assert lookups(service, "error") == 1
    eventually(lambda: client.get(key) != corrupt)


def test_an_entry_copied_to_another_key_is_not_served(
    exported: Exported, serve: Serve, redis_url: str, client: Redis
) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    service.predict(FLOWER)
    eventually(lambda: client.dbsize() == 1)
    (setosa_key,) = client.keys()
    service.predict(OTHER)
    eventually(lambda: client.dbsize() == 2)
    (virginica_key,) = set(client.keys()) - {setosa_key}
    client.set(virginica_key, client.get(setosa_key) or b"")
    assert service.predict(OTHER).json()["predictions"][0]["label"] == "virginica"


def test_predictions_continue_while_redis_is_down_and_use_it_again_after(
    exported: Exported, serve: Serve, redis_url: str, redis_server: RedisServer
) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    redis_server.server.kill()
    try:
        assert {service.predict(FLOWER).status_code for _ in range(20)} == {200}
        assert lookups(service, "error") == 20
    finally:
        redis_server.server.start()

    def hits_again() -> bool:
        service.predict(FLOWER)
        return lookups(service, "hit") > 0

    eventually(hits_again)


def test_an_unresponsive_redis_costs_at_most_the_timeout(
    exported: Exported, serve: Serve, redis_url: str, redis_server: RedisServer
) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    service.predict(FLOWER)
    durations = []
    with redis_server.server.frozen():
        for _ in range(30):
            started = time.perf_counter()
            assert service.predict(FLOWER).status_code == 200
            durations.append(time.perf_counter() - started)
    # The timeout is 50 ms; the rest is a margin for a busy machine.
    assert max(durations) < 0.5
    # The circuit breaker opens after five failures.
    assert sorted(durations)[15] < 0.04


def test_a_wrong_password_is_a_miss(exported: Exported, serve: Serve, redis_url: str) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url.replace("integration", "wrong"), cache_entries=0)
    assert {service.predict(FLOWER).status_code for _ in range(10)} == {200}
    assert lookups(service, "error") == 10


def test_a_full_redis_is_a_miss(exported: Exported, serve: Serve, redis_url: str, client: Redis) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url, cache_entries=0)
    client.config_set("maxmemory", "1")
    client.config_set("maxmemory-policy", "noeviction")
    try:
        assert {service.predict([number, 3, 1, 0.2]).status_code for number in range(10)} == {200}
    finally:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "64mb")
    assert lookups(service, "hit") == 0
