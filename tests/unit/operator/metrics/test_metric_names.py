"""The contract of names: what the operator exposes itself, and what it reads from the pods of the service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

import iris_inference.metric_names
from iris_operator import metric_names
from support.operator.api_server import Image
from support.operator.measured import Measured
from support.operator.simulation import at_weight, phase, serving

OWN_PREFIX = "iris_"


def constants(module: object) -> dict[str, str]:
    return {name: value for name, value in vars(module).items() if name.isupper()}


def exposed(registry: CollectorRegistry) -> set[str]:
    """Metrics by the names that Prometheus has them under, without those of the process."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in registry.collect()
        if not family.name.startswith("process_")
    }


def test_the_operator_exposes_the_metrics_that_are_named_and_no_others() -> None:
    measured = Measured(v2_0_0=Image(error_share=1.0))
    found = exposed(measured.telemetry.registry)
    for version, until in (
        ("1.0.0", lambda status: status.rollout.waiting_since is not None),
        ("1.0.0", serving("1.0.0")),
        ("2.0.0", phase("RolledBack")),
        ("3.0.0", at_weight(50)),
    ):
        measured.release(version, until)
        found |= exposed(measured.telemetry.registry)
    assert found == {name for name in constants(metric_names).values() if name.startswith(OWN_PREFIX)}


def test_the_metrics_that_are_read_from_pods_are_named_as_the_service_names_them() -> None:
    service = constants(iris_inference.metric_names)
    read = {name: value for name, value in constants(metric_names).items() if not value.startswith(OWN_PREFIX)}
    assert read == {name: service.get(name) for name in read}
