import re
import socket
import urllib.request

import pytest
from prometheus_client import generate_latest

from iris_inference import metric_names
from iris_inference.api.schemas import FEATURES
from iris_inference.cache.base import SOURCE_MIXED, SOURCE_MODEL, TIER_LOCAL, TIER_REDIS
from iris_inference.metrics.collectors import FeatureHistogram
from iris_inference.metrics.registry import FEATURE_BUCKETS, Metrics
from iris_inference.settings import LATENCY_BUCKETS
from iris_inference.shadow.metrics import ReceiverMetrics
from support.inference import graphs
from support.servers.process import accepts, free_port


def test_feature_buckets_are_cumulative_and_end_with_all() -> None:
    histogram = FeatureHistogram(["a", "b"], [1.0, 2.0])
    histogram.observe([(0.5, 5.0), (1.0, 1.5), (3.0, 0.0)])
    (family,) = histogram.collect()
    values = {
        (sample.labels["feature"], sample.labels.get("le", sample.name)): sample.value for sample in family.samples
    }
    assert [values["a", le] for le in ("1.0", "2.0", "+Inf")] == [2, 2, 3]
    assert [values["b", le] for le in ("1.0", "2.0", "+Inf")] == [1, 2, 3]
    assert values["a", f"{metric_names.FEATURE}_count"] == 3
    assert values["a", f"{metric_names.FEATURE}_sum"] == pytest.approx(4.5)


def test_the_buckets_of_all_versions_are_the_same_and_rise() -> None:
    assert list(FEATURE_BUCKETS) == sorted(set(FEATURE_BUCKETS))


def test_metrics_are_served_while_the_block_runs_and_the_port_is_free_after() -> None:
    port = free_port()
    with (
        Metrics(graphs.artifact(b"").manifest, FEATURES).serving("127.0.0.1", port),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
    ):
        assert f'{metric_names.REQUESTS}{{code="500"}} 0.0' in answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert not accepts(port)


def test_durations_are_counted_in_the_configured_buckets() -> None:
    metrics = Metrics(graphs.artifact(b"").manifest, FEATURES, (0.004, 0.005))
    metrics.request(200, 0.0045, SOURCE_MODEL)
    metrics.inference(0.0045)
    shown = generate_latest(metrics.registry).decode()
    for family, labels in (
        (metric_names.REQUEST_DURATION, 'cache="none",'),
        (metric_names.INFERENCE_DURATION, ""),
    ):
        found = re.findall(f'{family}_bucket{{{labels}le="(.*)"}} (.*)', shown)
        assert found == [("0.004", "0.0"), ("0.005", "1.0"), ("+Inf", "1.0")]


@pytest.mark.parametrize("of", ["inference", "shadow"])
@pytest.mark.parametrize(
    ("source", "cache"),
    [(TIER_LOCAL, "local"), (TIER_REDIS, "redis"), (SOURCE_MODEL, "none"), (SOURCE_MIXED, "none"), (None, "none")],
)
def test_a_request_is_timed_under_the_tier_of_the_cache_that_answered_all_of_it(
    of: str, source: str | None, cache: str
) -> None:
    metrics = Metrics(graphs.artifact(b"").manifest, FEATURES)
    received = ReceiverMetrics(metrics, ["a"], LATENCY_BUCKETS)
    (metrics if of == "inference" else received).request(200, 0.25, source)
    shown = generate_latest(metrics.registry).decode()
    for family, name in (
        ("inference", metric_names.REQUEST_DURATION),
        ("shadow", metric_names.SHADOW_REQUEST_DURATION),
    ):
        found = dict(re.findall(f'{name}_sum{{cache="(.*)"}} (.*)', shown))
        assert found == {"local": "0.0", "redis": "0.0", "none": "0.0"} | ({cache: "0.25"} if family == of else {})


def test_a_port_in_use_is_an_error_at_once() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        metrics = Metrics(graphs.artifact(b"").manifest, FEATURES)
        with pytest.raises(OSError, match="in use"), metrics.serving("127.0.0.1", other.getsockname()[1]):
            pass
