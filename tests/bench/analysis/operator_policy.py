"""The operator's own rule with the defaults of the resource, for many rollouts at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.analysis.baselines import PolicyDecision
from bench.analysis.traffic import BOUNDS, MIX, WARM_UP, without_durations
from iris_operator.analysis.arrays import IntervalArrays, State
from iris_operator.analysis.check import Shape
from iris_operator.analysis.registry import build_checks
from iris_operator.analysis.rule import Rule, WeightedMetric
from iris_operator.api.checks import AccuracyCheck, Analysis, Checks

CLASSES = tuple(f"class{number}" for number in range(len(MIX)))


def settings(*, labels: bool = False) -> Analysis:
    """The defaults; accuracy is on where the scenario has labels."""
    return Analysis(checks=Checks(accuracy=AccuracyCheck() if labels else None))


def build_rule(analysis: Analysis, *, cached: bool = False, control: bool = True) -> Rule:
    """The rule of a release with these settings; `cached`: its service reports which requests its cache answered."""
    shape = Shape(BOUNDS, CLASSES, ("local",) if cached and not control else (), control=control, sums=True)
    checks = build_checks(analysis.checks, shape)
    metrics = {name: WeightedMetric(check.metric(), check.weight) for name, check in checks.items()}
    limit = analysis.checks.error_rate.shared_incident
    return Rule(metrics, analysis.false_rollback, analysis.missed_regression, limit)


class OperatorPolicy:
    """The rule as a policy of the benchmark. `passed` has, by metric, the rollouts that it would promote."""

    name = "this operator"
    judges_the_end = True

    def __init__(
        self,
        rollouts: int,
        *,
        labels: bool = False,
        cached: bool = False,
        control: bool = True,
        analysis: Analysis | None = None,
    ) -> None:
        self._rule = build_rule(analysis or settings(labels=labels), cached=cached, control=control)
        self._state: Mapping[str, State] = self._rule.initial_state(rollouts)

    def observe_baseline(self, arrays: IntervalArrays) -> None:
        """See `Policy.observe_baseline`."""
        self._state = self._rule.update(self._state, arrays).state

    def decide(self, arrays: IntervalArrays, second: float) -> PolicyDecision:
        """See `Policy.decide`."""
        if second <= WARM_UP:
            arrays = without_durations(arrays)
        result = self._rule.update(self._state, arrays)
        self._state = result.state
        self.passed = {name: log_e.noninferiority >= self._rule.promote_at for name, log_e in result.evidence.items()}
        return PolicyDecision(np.asarray(result.rolls_back), np.asarray(result.promotes))
