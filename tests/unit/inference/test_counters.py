import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from iris_inference.counters import FeatureHistogram, LoopCounter, LoopHistogram
from iris_inference.matrices import MANY, matrix

BOUNDS = (0.001, 0.5, 2.0)
seconds = st.floats(0, 10)


def written(*collectors: LoopCounter | LoopHistogram) -> str:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry).decode()


@given(st.lists(st.tuples(st.sampled_from(BOUNDS) | seconds, st.integers(1, 3))), st.lists(st.sampled_from("abc")))
def test_prometheus_reads_what_its_own_counters_would_have_told(
    durations: list[tuple[float, int]], names: list[str]
) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
    registry = CollectorRegistry()
    histogram = Histogram("took_seconds", "How long.", buckets=BOUNDS, registry=registry)
    counter = Counter("seen", "How many.", ["name"], registry=registry)
    for name in "abc":
        counter.labels(name)
    ours, our_counter = (
        LoopHistogram("took_seconds", "How long.", BOUNDS),
        LoopCounter("seen", "How many.", ["name"], [("a",), ("b",), ("c",)]),
    )
    for duration, times in durations:
        ours.observe(duration, times)
        for _ in range(times):
            histogram.observe(duration)
    for name in names:
        our_counter.add((name,))
        counter.labels(name).inc()
    theirs = [line for line in generate_latest(registry).decode().splitlines() if "_sum" not in line]
    assert [line for line in written(ours, our_counter).splitlines() if "_sum" not in line] == theirs


def test_a_value_that_was_not_expected_is_counted_too() -> None:
    counter = LoopCounter("seen", "How many.", ["name"], [("a",)])
    counter.add(("b",), 2)
    assert 'seen_total{name="a"} 0.0' in written(counter)
    assert 'seen_total{name="b"} 2.0' in written(counter)


lengths = st.sampled_from((1.0, 2.0)) | st.floats(-10, 10)


@given(st.lists(st.tuples(lengths, lengths), min_size=MANY, max_size=2 * MANY))
def test_many_flowers_are_counted_as_one_after_the_other(flowers: list[tuple[float, float]]) -> None:
    together, columns, apart = (FeatureHistogram(["a", "b"], [1.0, 2.0]) for _ in range(3))
    together.observe(flowers)
    columns.observe(matrix(flowers))
    for flower in flowers:
        apart.observe([flower])
    assert together._counts == columns._counts == apart._counts
    assert columns._sums == together._sums
    assert together._sums == pytest.approx(apart._sums, abs=1e-9)
