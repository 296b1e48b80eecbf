"""Which checks exist: the field of `spec.analysis.checks` and what judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from iris_operator.analysis.check import Check, Shape
from iris_operator.analysis.checks import (
    accuracy,
    agreement,
    error_rate,
    feature_drift,
    inference_failures,
    latency,
    prediction_drift,
)
from iris_operator.api.spec import Checks

# In the order in which people read them. None: the check is off.
_BUILDERS: Mapping[str, Callable[[Checks, Shape], Check | None]] = {
    error_rate.NAME: lambda of, _: error_rate.ErrorRate(of.error_rate),
    inference_failures.NAME: lambda of, _: inference_failures.InferenceFailures(of.inference_failures),
    latency.NAME: lambda of, shape: latency.Latency(of.latency, shape),
    prediction_drift.NAME: lambda of, shape: prediction_drift.PredictionDrift(of.prediction_drift, shape),
    accuracy.NAME: lambda of, shape: accuracy.Accuracy(of.accuracy, shape) if of.accuracy else None,
}

REPORTED: Final = frozenset({feature_drift.NAME, agreement.NAME})
"""Those that tell something and decide nothing: whatever they say, no release waits for them."""


def build_checks(settings: Checks, shape: Shape) -> Mapping[str, Check]:
    """The judges of a release, by name; custom queries are judged apart, they are no evidence."""
    built = {name: build(settings, shape) for name, build in _BUILDERS.items()}
    return {name: check for name, check in built.items() if check is not None}
