import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from iris_inference import metric_names
from iris_inference.metrics.collectors import FeatureHistogram, UnlockedCounter, UnlockedHistogram
from iris_inference.model.arrays import VECTORIZE_FROM, to_matrix
from iris_inference.model.artifact import Distribution

BOUNDS = (0.001, 0.5, 2.0)
seconds = st.floats(0, 10)


TRAINING = {
    "a": Distribution(bounds=(0.5, 1.0, 1.5), counts=(0, 2, 1, 1)),
    "elsewhere": Distribution(bounds=(1.0,), counts=(1, 1)),
}


def written(*collectors: UnlockedCounter | UnlockedHistogram | FeatureHistogram) -> str:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry).decode()


@given(
    st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(BOUNDS) | seconds, st.integers(1, 3))),
    st.lists(st.sampled_from("abc")),
)
def test_the_output_is_that_of_the_prometheus_client(durations: list[tuple[str, float, int]], names: list[str]) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
    registry = CollectorRegistry()
    histogram = Histogram("took_seconds", "How long.", buckets=BOUNDS, registry=registry)
    labelled = Histogram("took_by_seconds", "How long.", ["kind"], buckets=BOUNDS, registry=registry)
    counter = Counter("seen", "How many.", ["name"], registry=registry)
    for kind in "xy":
        labelled.labels(kind)
    for name in "abc":
        counter.labels(name)
    ours, our_labelled, our_counter = (
        UnlockedHistogram("took_seconds", "How long.", BOUNDS),
        UnlockedHistogram("took_by_seconds", "How long.", BOUNDS, ["kind"], [("x",), ("y",)]),
        UnlockedCounter("seen", "How many.", ["name"], [("a",), ("b",), ("c",)]),
    )
    for kind, duration, times in durations:
        ours.labels().observe(duration, times)
        our_labelled.labels(kind).observe(duration, times)
        for _ in range(times):
            histogram.observe(duration)
            labelled.labels(kind).observe(duration)
    for name in names:
        our_counter.add((name,))
        counter.labels(name).inc()
    theirs = [line for line in generate_latest(registry).decode().splitlines() if "_sum" not in line]
    assert [line for line in written(ours, our_labelled, our_counter).splitlines() if "_sum" not in line] == theirs


def test_durations_are_summed_separately_per_label_value() -> None:
    histogram = UnlockedHistogram("took_seconds", "How long.", BOUNDS, ["kind"], [("x",), ("y",), ("z",)])
    histogram.labels("x").observe(0.25, 2)
    histogram.labels("y").observe(4.0)
    assert [line for line in written(histogram).splitlines() if "_sum" in line] == [
        'took_seconds_sum{kind="x"} 0.5',
        'took_seconds_sum{kind="y"} 4.0',
        'took_seconds_sum{kind="z"} 0.0',
    ]


def test_an_unexpected_label_value_is_counted() -> None:
    counter = UnlockedCounter("seen", "How many.", ["name"], [("a",)])
    counter.add(("b",), 2)
    assert 'seen_total{name="a"} 0.0' in written(counter)
    assert 'seen_total{name="b"} 2.0' in written(counter)


lengths = st.sampled_from((1.0, 2.0)) | st.floats(-10, 10)


@given(st.lists(st.tuples(lengths, lengths), min_size=VECTORIZE_FROM, max_size=2 * VECTORIZE_FROM))
def test_many_instances_are_counted_as_one_by_one(instances: list[tuple[float, float]]) -> None:
    rows, columns, single = (FeatureHistogram(["a", "b"], [1.0, 2.0], TRAINING) for _ in range(3))
    rows.observe(instances)
    columns.observe(to_matrix(instances))
    for instance in instances:
        single.observe([instance])
    assert rows._counts == columns._counts == single._counts
    assert columns._sums == rows._sums
    assert rows._sums == pytest.approx(single._sums, abs=1e-9)


@given(st.lists(st.tuples(lengths, lengths)))
def test_the_bins_of_the_training_data_do_not_change_the_fixed_buckets(instances: list[tuple[float, float]]) -> None:
    with_bins, without = FeatureHistogram(["a", "b"], [1.0, 2.0], TRAINING), FeatureHistogram(["a", "b"], [1.0, 2.0])
    for histogram in (with_bins, without):
        histogram.observe(instances)
    fixed = [line for line in written(with_bins).splitlines() if line.startswith(f"{metric_names.FEATURE}_bucket")]
    assert fixed == [
        line for line in written(without).splitlines() if line.startswith(f"{metric_names.FEATURE}_bucket")
    ]


def test_values_are_counted_in_the_bins_of_the_training_data_with_their_training_shares() -> None:
    histogram = FeatureHistogram(["a", "b"], [1.0, 2.0], TRAINING)
    histogram.observe([(0.5, 0.0), (0.7, 0.0), (1.0, 0.0), (1.2, 0.0), (99.0, 0.0), (99.0, 0.0)])
    assert [line for line in written(histogram).splitlines() if line.startswith(metric_names.FEATURE_VALUES)] == [
        'model_feature_values_total{feature="a",training_share="0",up_to="0.5"} 1.0',
        'model_feature_values_total{feature="a",training_share="0.5",up_to="1.0"} 2.0',
        'model_feature_values_total{feature="a",training_share="0.25",up_to="1.5"} 1.0',
        'model_feature_values_total{feature="a",training_share="0.25",up_to="+Inf"} 2.0',
    ]
