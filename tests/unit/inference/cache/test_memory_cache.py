import pytest

from iris_inference import metric_names
from iris_inference.api.schemas import FEATURES
from iris_inference.cache.memory_cache import MemoryCache
from iris_inference.metrics.registry import Metrics
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Packed, pack
from support.inference import graphs

A, B, C = pack([(1.0, 1.0, 1.0, 1.0), (2.0, 2.0, 2.0, 2.0), (3.0, 3.0, 3.0, 3.0)])
PREDICTIONS: dict[Packed, Prediction] = {
    A: Prediction(0, (1.0, 0.0, 0.0)),
    B: Prediction(1, (0.0, 1.0, 0.0)),
    C: Prediction(2, (0.0, 0.0, 1.0)),
}


def cache(capacity: int) -> tuple[MemoryCache, Metrics]:
    metrics = Metrics(graphs.artifact(b"").manifest, FEATURES)
    return MemoryCache(metrics, capacity), metrics


def put(local: MemoryCache, *instances: Packed) -> None:
    local.put(instances, [PREDICTIONS[instance] for instance in instances])


def lookups(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value(metric_names.CACHE_REQUESTS, {"tier": "local", "result": result})


def test_lookups_return_cached_predictions_and_are_counted() -> None:
    local, metrics = cache(10)
    put(local, A)
    assert local.get([A, B, C]) == [PREDICTIONS[A], None, None]
    assert (lookups(metrics, "hit"), lookups(metrics, "miss")) == (1, 2)


def test_the_least_recently_used_entry_is_evicted() -> None:
    local, _ = cache(2)
    put(local, A, B)
    local.get([A])
    put(local, C)
    assert local.get([A, B, C]) == [PREDICTIONS[A], None, PREDICTIONS[C]]


def test_the_cache_never_exceeds_its_capacity() -> None:
    local, _ = cache(100)
    instances = pack([(float(number), 0.0, 0.0, 0.0) for number in range(1_000)])
    for instance in instances[:500]:
        local.put([instance], [PREDICTIONS[A]])
    local.put(instances[500:], [PREDICTIONS[A]] * 500)
    assert [prediction is not None for prediction in local.get(instances)] == [False] * 900 + [True] * 100


@pytest.mark.parametrize("at_once", [1, 256])
def test_an_eviction_removes_little_more_than_necessary(at_once: int) -> None:
    local, _ = cache(1_280)
    instances = pack([(float(number), 0.0, 0.0, 0.0) for number in range(2_560)])
    for start in range(0, len(instances), at_once):
        local.put(instances[start : start + at_once], [PREDICTIONS[A]] * at_once)
        cached = local.get(instances[: start + at_once])
        newest = min(start + at_once, 1_270)
        assert None not in cached[-newest:]
        assert len(cached) - cached.count(None) <= 1_280
        if at_once == 1 and start > 1_500:
            break


def test_a_cache_without_capacity_is_disabled() -> None:
    local, metrics = cache(0)
    put(local, A)
    assert local.get([A]) == [None]
    assert (lookups(metrics, "hit"), lookups(metrics, "miss")) == (0, 0)
