"""All checks, in the order in which they are reported.

Adding one that is judged by evidence: a file in `checks/`, a line here, a spec type and its field in
`api.checks.EvidenceChecks`. The options of `iris-analysis replay`, the forecast, the causes of a rollback and the
names that no custom check may have follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic.alias_generators import to_snake

from iris_operator.analysis.check import Check, CheckResult, Shape, Totals
from iris_operator.analysis.checks import (
    accuracy,
    agreement,
    client_errors,
    custom,
    error_rate,
    feature_drift,
    inference_failures,
    latency,
    latency_objective,
    prediction_drift,
    shadow_traffic,
    traffic_split,
)
from iris_operator.analysis.counts import Interval, ShadowCounts
from iris_operator.api.base import ApiModel
from iris_operator.api.checks import (
    AccuracyCheck,
    Checks,
    ClientErrorsCheck,
    CustomCheck,
    ErrorRateCheck,
    InferenceFailuresCheck,
    LatencyCheck,
    LatencyObjective,
    PredictionDriftCheck,
)
from iris_operator.api.status import CheckStatus

_Settings = TypeVar("_Settings", bound=ApiModel)


@dataclass(frozen=True)
class EvidenceCheck(Generic[_Settings]):
    """Compares canary and stable by e-values.

    Its settings are the field of `Checks` with its name, or what `read` gives.
    """

    name: str
    settings: type[_Settings]
    create: Callable[[_Settings, Shape], Check]
    read: Callable[[Checks], _Settings | None] | None = None

    def build(self, checks: Checks, shape: Shape) -> Check | None:
        """The check with these settings; None when it is off."""
        settings = self.read(checks) if self.read else getattr(checks, to_snake(self.name))
        return None if settings is None else self.create(settings, shape)

    @property
    def margins(self) -> Sequence[str]:
        """The fields of its settings that are margins."""
        return [name for name in self.settings.model_fields if name.startswith("max_")]


@dataclass(frozen=True)
class TotalsCheck:
    """Judges counts that are added up over the intervals, without evidence.

    `add` takes whether a step begins with the interval; `judge` gives None when there is nothing to say. One that does
    not `decide` is reported only. Where not all checks are measured, one that is not `always_measured` must be named.
    """

    name: str
    add: Callable[[Totals, Interval, bool], Totals]
    judge: Callable[[Totals, Interval], CheckResult | None]
    decides: bool = True
    always_measured: bool = False


@dataclass(frozen=True)
class ShadowCheck:
    """Judges or reports mirrored requests.

    `judge` takes what came of them in this interval (None: nothing new), what the check reported last, and whether the
    step mirrors requests. One that does not `decide` is reported only.
    """

    name: str
    judge: Callable[[ShadowCounts | None, CheckStatus | None, bool], CheckResult | None]
    decides: bool = True


@dataclass(frozen=True)
class CustomChecks:
    """The user's queries, each with a name of its own. `judge` takes and returns the breaches in a row."""

    name: str
    judge: Callable[[CustomCheck, float | str | None, int], tuple[CheckResult, int]]


CUSTOM: Final = CustomChecks(custom.NAME, custom.judge_custom)

REGISTRY: Final[Sequence[EvidenceCheck[Any] | TotalsCheck | ShadowCheck | CustomChecks]] = (
    ShadowCheck(shadow_traffic.NAME, shadow_traffic.judge_shadow_traffic),
    EvidenceCheck(error_rate.NAME, ErrorRateCheck, error_rate.ErrorRate),
    EvidenceCheck(client_errors.NAME, ClientErrorsCheck, client_errors.ClientErrors),
    EvidenceCheck(inference_failures.NAME, InferenceFailuresCheck, inference_failures.InferenceFailures),
    EvidenceCheck(latency.NAME, LatencyCheck, latency.Latency),
    EvidenceCheck(
        latency_objective.NAME,
        LatencyObjective,
        latency_objective.MissedObjective,
        lambda checks: checks.latency.objective,
    ),
    EvidenceCheck(prediction_drift.NAME, PredictionDriftCheck, prediction_drift.PredictionDrift),
    EvidenceCheck(accuracy.NAME, AccuracyCheck, accuracy.Accuracy),
    TotalsCheck(traffic_split.NAME, traffic_split.add_requests, traffic_split.judge_split, always_measured=True),
    CUSTOM,
    TotalsCheck(feature_drift.NAME, feature_drift.add_values, feature_drift.report_features, decides=False),
    ShadowCheck(agreement.NAME, agreement.report_agreement, decides=False),
)

EVIDENCE_CHECKS: Final = tuple(check for check in REGISTRY if isinstance(check, EvidenceCheck))
TOTALS_CHECKS: Final = tuple(check for check in REGISTRY if isinstance(check, TotalsCheck))
SHADOW_CHECKS: Final = tuple(check for check in REGISTRY if isinstance(check, ShadowCheck))

REPORTED: Final = frozenset(
    check.name for check in REGISTRY if isinstance(check, TotalsCheck | ShadowCheck) and not check.decides
)
"""Checks that are reported and decide nothing: no release waits for them."""

_POSITIONS: Final[Mapping[str, int]] = {check.name: at for at, check in enumerate(REGISTRY)}


def build_checks(settings: Checks, shape: Shape) -> Mapping[str, Check]:
    """The checks of a release that are judged by evidence, by name."""
    built = {check.name: check.build(settings, shape) for check in EVIDENCE_CHECKS}
    return {name: check for name, check in built.items() if check is not None}


def sort_results(results: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """The results in the registry's order; custom ones stay in the order of the spec."""
    return tuple(sorted(results, key=lambda result: _POSITIONS.get(result.name, _POSITIONS[CUSTOM.name])))


def rollback_cause(name: str) -> str:
    """The reason of a rollback that the check of this name decided. A closed set, however many custom checks exist."""
    return _cause(name if name in _POSITIONS else CUSTOM.name)


def _cause(name: str) -> str:
    return name[0].upper() + name[1:]


ROLLBACK_CAUSES: Final = (*(_cause(check.name) for check in EVIDENCE_CHECKS), _cause(CUSTOM.name))
"""Everything that `rollback_cause` gives for a check that can fail."""
