import pytest

from iris_inference.local_cache import LocalCache
from iris_inference.predictions import Prediction
from iris_inference.runtime import Packed, pack
from iris_inference.schemas import FEATURES
from iris_inference.telemetry import Metrics
from unit.inference import graphs

A, B, C = pack([(1.0, 1.0, 1.0, 1.0), (2.0, 2.0, 2.0, 2.0), (3.0, 3.0, 3.0, 3.0)])
ANSWERS: dict[Packed, Prediction] = {
    A: Prediction(0, (1.0, 0.0, 0.0)),
    B: Prediction(1, (0.0, 1.0, 0.0)),
    C: Prediction(2, (0.0, 0.0, 1.0)),
}


def cache(capacity: int) -> tuple[LocalCache, Metrics]:
    metrics = Metrics(graphs.artifact(b"").manifest, FEATURES)
    return LocalCache(metrics, capacity), metrics


def put(local: LocalCache, *flowers: Packed) -> None:
    local.put(flowers, [ANSWERS[flower] for flower in flowers])


def counted(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("cache_requests_total", {"tier": "local", "result": result})


def test_what_is_known_is_found_and_counted() -> None:
    local, metrics = cache(10)
    put(local, A)
    assert local.get([A, B, C]) == [ANSWERS[A], None, None]
    assert (counted(metrics, "hit"), counted(metrics, "miss")) == (1, 2)


def test_the_one_that_was_not_used_for_longest_makes_room() -> None:
    local, _ = cache(2)
    put(local, A, B)
    local.get([A])
    put(local, C)
    assert local.get([A, B, C]) == [ANSWERS[A], None, ANSWERS[C]]


def test_it_never_holds_more_than_it_may() -> None:
    local, _ = cache(100)
    flowers = pack([(float(number), 0.0, 0.0, 0.0) for number in range(1_000)])
    for flower in flowers[:500]:
        local.put([flower], [ANSWERS[A]])
    local.put(flowers[500:], [ANSWERS[A]] * 500)
    assert [prediction is not None for prediction in local.get(flowers)] == [False] * 900 + [True] * 100


@pytest.mark.parametrize("at_once", [1, 256])
def test_of_many_little_more_goes_than_has_to(at_once: int) -> None:
    local, _ = cache(1_280)
    flowers = pack([(float(number), 0.0, 0.0, 0.0) for number in range(2_560)])
    for start in range(0, len(flowers), at_once):
        local.put(flowers[start : start + at_once], [ANSWERS[A]] * at_once)
        known = local.get(flowers[: start + at_once])
        newest = min(start + at_once, 1_270)
        assert None not in known[-newest:]
        assert len(known) - known.count(None) <= 1_280
        if at_once == 1 and start > 1_500:
            break


def test_without_room_it_is_not_there() -> None:
    local, metrics = cache(0)
    put(local, A)
    assert local.get([A]) == [None]
    assert (counted(metrics, "hit"), counted(metrics, "miss")) == (0, 0)
