"""Both tiers of the cache under load while Redis is down, unresponsive, full or corrupt: predictions stay correct."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from redis import Redis

from iris_inference import metric_names
from support.inference.api import FLOWER, Api
from support.inference.models import Exported
from support.inference.serving import Serve, serving
from support.servers.redis import Redis as RedisServer
from support.waiting import eventually

# The timeout of a lookup is 50 ms; the rest is a margin for a busy machine.
LONGEST_SECONDS = 0.5

Expected = dict[tuple[float, ...], Any]


@dataclass
class Load:
    """The wrong responses, and the duration of each response."""

    wrong: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def random_instances(count: int) -> list[list[float]]:
    rng = random.Random(5)  # noqa: S311 - the same instances in each run
    return [[round(rng.uniform(low, low + 2), 2) for low in (5.0, 2.5, 1.5, 0.3)] for _ in range(count)]


@pytest.fixture(scope="module")
def expected(exported: Exported) -> Expected:
    """The model's own predictions, one by one, because a batch may differ in the last bit, and without a cache."""
    with serving(exported("2.0.0"), cache_entries=0) as service:
        return {tuple(row): service.predict(row).json()["predictions"] for row in random_instances(200)}


@contextmanager
def load(service: Api, expected: Expected) -> Iterator[Load]:
    """Four clients that request predictions of the same instances until the block ends."""
    observed = Load()
    over = threading.Event()

    def call(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - not used for security
        rows = random_instances(200)
        with httpx.Client(base_url=service.url, timeout=10) as client:
            while not over.is_set():
                row = rng.choice(rows)
                started = time.perf_counter()
                answer = client.post("/v1/predict", json={"instances": [row]})
                observed.seconds.append(time.perf_counter() - started)
                if answer.status_code != 200 or answer.json()["predictions"] != expected[tuple(row)]:
                    observed.wrong.append((row, answer.text))

    clients = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for client in clients:
        client.start()
    try:
        yield observed
    finally:
        over.set()
        for client in clients:
            client.join()


def await_responses(observed: Load, more: int) -> None:
    target = len(observed.seconds) + more
    eventually(lambda: len(observed.seconds) >= target or bool(observed.wrong), 30)


@contextmanager
def down(redis: RedisServer) -> Iterator[None]:
    redis.server.kill()
    try:
        yield
    finally:
        redis.server.start()


@contextmanager
def unresponsive(redis: RedisServer) -> Iterator[None]:
    with redis.server.frozen():
        yield


@contextmanager
def full(redis: RedisServer) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory", "1")
        client.config_set("maxmemory-policy", "noeviction")
        try:
            yield
        finally:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", "64mb")


@contextmanager
def corrupted(redis: RedisServer) -> Iterator[None]:
    """Values are replaced by those of other instances, or by noise, all the time."""
    over = threading.Event()

    def corrupt() -> None:
        with Redis.from_url(redis.url) as client:
            while not over.is_set():
                keys = client.keys()
                values = client.mget(keys) if keys else []
                for key, value in zip(keys, values[1:] + values[:1], strict=True):
                    client.set(key, value if value and value[0] % 2 else b"\x01" * 34)

    thread = threading.Thread(target=corrupt)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# No tier in memory, a small one, so that Redis is used all the time, and the default one.
@pytest.mark.parametrize("entries", [0, 50, 10_000])
@pytest.mark.parametrize("fault", [down, unresponsive, full, corrupted])
def test_predictions_stay_correct_and_in_time(
    exported: Exported,
    serve: Serve,
    redis_url: str,
    redis_server: RedisServer,
    expected: Expected,
    fault: Callable[[RedisServer], Any],
    entries: int,
) -> None:
    service = serve(exported("2.0.0"), REDIS_URL=redis_url, cache_entries=entries)
    with load(service, expected) as observed:
        await_responses(observed, 200)
        with fault(redis_server):
            await_responses(observed, 400)
        await_responses(observed, 200)
    assert observed.wrong == []
    assert max(observed.seconds) < LONGEST_SECONDS


def test_the_tier_in_memory_answers_while_redis_is_down(
    exported: Exported, serve: Serve, redis_url: str, redis_server: RedisServer
) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url)
    first = service.predict(FLOWER).json()["predictions"]
    with down(redis_server):
        assert service.predict(FLOWER).json()["predictions"] == first
    assert service.metric(metric_names.CACHE_REQUESTS, tier="local", result="hit") == 1
    assert service.metric(metric_names.CACHE_REQUESTS, tier="redis", result="miss") == 1
    assert service.metric(metric_names.CACHE_REQUESTS, tier="redis", result="error") == 0
    assert service.metric(f"{metric_names.INFERENCE_DURATION}_count") == 1


def test_another_pod_finds_in_redis_what_the_first_one_computed(
    exported: Exported, serve: Serve, redis_url: str
) -> None:
    first = serve(exported("1.0.0"), REDIS_URL=redis_url)
    second = serve(exported("1.0.0"), REDIS_URL=redis_url)
    answer = first.predict(FLOWER).json()["predictions"]
    with Redis.from_url(redis_url) as client:
        eventually(lambda: client.dbsize() == 1)
    assert second.predict(FLOWER).json()["predictions"] == answer
    assert second.predict(FLOWER).json()["predictions"] == answer
    assert second.metric(metric_names.CACHE_REQUESTS, tier="redis", result="hit") == 1
    assert second.metric(metric_names.CACHE_REQUESTS, tier="local", result="hit") == 1
    assert second.metric(f"{metric_names.INFERENCE_DURATION}_count") == 0
