"""Both tiers of the cache under load while Redis is down, silent, full or full of lies: nobody gets a wrong answer."""

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

from contract.inference.api import FLOWER, Api
from contract.inference.models import Exported
from contract.inference.serving import Serve, serving
from integration.harness.redis import Redis as RedisServer
from integration.inference.waiting import eventually

# The time limit of a lookup is 50 ms; the rest is room for a busy machine.
LONGEST_SECONDS = 0.5

Truth = dict[tuple[float, ...], Any]


@dataclass
class Load:
    """What the clients saw: wrong answers, and how long each answer took."""

    wrong: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def flowers(count: int) -> list[list[float]]:
    chance = random.Random(5)  # noqa: S311 - the same flowers in each run
    return [[round(chance.uniform(low, low + 2), 2) for low in (5.0, 2.5, 1.5, 0.3)] for _ in range(count)]


@pytest.fixture(scope="module")
def truth(exported: Exported) -> Truth:
    """What the model itself says: asked one by one, as a batch may differ in the last bit, and without any cache."""
    with serving(exported("2.0.0"), cache_entries=0) as service:
        return {tuple(row): service.predict(row).json()["predictions"] for row in flowers(200)}


@contextmanager
def load(service: Api, truth: Truth) -> Iterator[Load]:
    """Four clients that ask for the same flowers again and again until the block ends."""
    seen = Load()
    over = threading.Event()

    def ask(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - chance is no secret here
        rows = flowers(200)
        with httpx.Client(base_url=service.url, timeout=10) as client:
            while not over.is_set():
                row = chance.choice(rows)
                started = time.perf_counter()
                answer = client.post("/v1/predict", json={"instances": [row]})
                seen.seconds.append(time.perf_counter() - started)
                if answer.status_code != 200 or answer.json()["predictions"] != truth[tuple(row)]:
                    seen.wrong.append((row, answer.text))

    clients = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for client in clients:
        client.start()
    try:
        yield seen
    finally:
        over.set()
        for client in clients:
            client.join()


def served(seen: Load, more: int) -> None:
    goal = len(seen.seconds) + more
    eventually(lambda: len(seen.seconds) >= goal or bool(seen.wrong), 30)


@contextmanager
def down(redis: RedisServer) -> Iterator[None]:
    redis.server.kill()
    try:
        yield
    finally:
        redis.server.start()


@contextmanager
def silent(redis: RedisServer) -> Iterator[None]:
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
def poisoned(redis: RedisServer) -> Iterator[None]:
    """Every value that is there is replaced by that of another flower, and the next half by noise, all the time."""
    over = threading.Event()

    def poison() -> None:
        with Redis.from_url(redis.url) as client:
            while not over.is_set():
                keys = client.keys()
                values = client.mget(keys) if keys else []
                for key, value in zip(keys, values[1:] + values[:1], strict=True):
                    client.set(key, value if value and value[0] % 2 else b"\x01" * 34)

    poisoner = threading.Thread(target=poison)
    poisoner.start()
    try:
        yield
    finally:
        over.set()
        poisoner.join()


# A small tier in memory, so that Redis is asked all the time; the usual one; and none.
@pytest.mark.parametrize("entries", [0, 50, 10_000])
@pytest.mark.parametrize("fault", [down, silent, full, poisoned])
def test_predictions_stay_right_and_in_time(
    exported: Exported,
    serve: Serve,
    redis_url: str,
    redis_server: RedisServer,
    truth: Truth,
    fault: Callable[[RedisServer], Any],
    entries: int,
) -> None:
    service = serve(exported("2.0.0"), REDIS_URL=redis_url, cache_entries=entries)
    with load(service, truth) as seen:
        served(seen, 200)
        with fault(redis_server):
            served(seen, 400)
        served(seen, 200)
    assert seen.wrong == []
    assert max(seen.seconds) < LONGEST_SECONDS


def test_the_tier_in_memory_answers_while_redis_is_away(
    exported: Exported, serve: Serve, redis_url: str, redis_server: RedisServer
) -> None:
    service = serve(exported("1.0.0"), REDIS_URL=redis_url)
    first = service.predict(FLOWER).json()["predictions"]
    with down(redis_server):
        assert service.predict(FLOWER).json()["predictions"] == first
    assert service.metric("cache_requests_total", tier="local", result="hit") == 1
    assert service.metric("cache_requests_total", tier="redis", result="miss") == 1
    assert service.metric("cache_requests_total", tier="redis", result="error") == 0
    assert service.metric("model_inference_duration_seconds_count") == 1


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
    assert second.metric("cache_requests_total", tier="redis", result="hit") == 1
    assert second.metric("cache_requests_total", tier="local", result="hit") == 1
    assert second.metric("model_inference_duration_seconds_count") == 0
