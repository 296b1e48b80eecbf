"""Which checks exist: the field of `spec.analysis.checks` and what judges it."""

from __future__ import annotations

from collections.abc import Mapping

from iris_operator.analysis.check import Check
from iris_operator.analysis.checks import error_rate, latency
from iris_operator.api.spec import Checks


def build_checks(settings: Checks) -> Mapping[str, Check]:
    """The judges of a release, by name."""
    return {
        error_rate.NAME: error_rate.ErrorRate(settings.error_rate),
        latency.NAME: latency.Latency(settings.latency),
    }
