from prometheus_client import CollectorRegistry

from iris_inference import metric_names
from iris_inference.api.schemas import FEATURES
from iris_inference.metrics.registry import Metrics
from iris_inference.model.artifact import Distribution, Manifest, Training
from iris_inference.server.connection_limiter import ConnectionLimiter
from iris_inference.settings import LATENCY_BUCKETS
from iris_inference.shadow.metrics import ReceiverMetrics, SenderMetrics

MANIFEST = Manifest(
    name="iris",
    version="1.0.0",
    features=FEATURES,
    classes=("setosa", "versicolor", "virginica"),
    sha256="0" * 64,
    size_bytes=1,
    # Without it there would be no bins of the training data.
    training=Training(features={FEATURES[0]: Distribution(bounds=(5.0,), counts=(1, 1))}),
)


def test_a_pod_exposes_the_metrics_that_metric_names_lists_and_no_others() -> None:
    listed = {value for name, value in vars(metric_names).items() if name.isupper()}
    assert families(registry()) == listed


def registry() -> CollectorRegistry:
    """Everything that a pod registers when it sends and receives mirrored requests."""
    metrics = Metrics(MANIFEST, FEATURES)
    ReceiverMetrics(metrics, MANIFEST.classes, LATENCY_BUCKETS)
    metrics.registry.register(SenderMetrics())
    metrics.registry.register(ConnectionLimiter(1))
    return metrics.registry


def families(registry: CollectorRegistry) -> set[str]:
    """The names of the families, as Prometheus has them: those of counters end in `_total`."""
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in registry.collect()}
