"""The decision over all metrics, as arrays: F6 rolls back, F7 promotes to the next step, otherwise it waits (F8)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, Metric, State
from iris_operator.analysis.check import Thresholds
from iris_operator.analysis.evidence.combine import log_combined
from iris_operator.analysis.evidence.logspace import Bools, Floats
from iris_operator.analysis.incident import SLOWDOWN, Incident, Past, find_incident
from iris_operator.analysis.metrics.batching import update_together
from iris_operator.analysis.metrics.durations import Durations


@dataclass(frozen=True)
class WeightedMetric:
    """A metric and its weight in the combined e-value; the rule normalizes the weights to sum to 1."""

    metric: Metric
    weight: float


@dataclass(frozen=True)
class RuleResult:
    """The result of one interval by release; `log_regression` is the logarithm of the combined e-value (F6)."""

    state: Mapping[str, State]
    evidence: Mapping[str, LogEvidence]
    log_regression: Floats
    rolls_back: Bools
    promotes: Bools
    incident: Incident

    def for_release(self, row: int) -> RuleResult:
        """The result of one release alone."""
        at = slice(row, row + 1)
        return RuleResult(
            {name: {key: value[at] for key, value in state.items()} for name, state in self.state.items()},
            {
                name: LogEvidence(log_e.regression[at], log_e.noninferiority[at])
                for name, log_e in self.evidence.items()
            },
            self.log_regression[at],
            self.rolls_back[at],
            self.promotes[at],
            Incident(self.incident.stable[at], self.incident.both[at]),
        )


class Rule:
    """All metrics of releases that have the same settings."""

    def __init__(
        self,
        metrics: Mapping[str, WeightedMetric],
        alpha: float,
        beta: float,
        error_limit: float,
        unmeasured_weight: float = 0.0,
    ) -> None:
        """`alpha` false rollbacks over the whole rollout, `beta` missed regressions; `error_limit` of stable.

        `unmeasured_weight` is that of the metrics that were not measured: they count with an e-value of 1.
        """
        total = sum(member.weight for member in metrics.values()) + unmeasured_weight
        # Without any metric the combined e-value is 1.
        self._unmeasured_weight = unmeasured_weight / total if total else 1.0
        self._metrics = {name: member.metric for name, member in metrics.items()}
        self.weights = {name: member.weight / total for name, member in metrics.items()}
        self._log_weights = {
            name: float(np.log(weight))
            for name, weight in {**self.weights, "": self._unmeasured_weight}.items()
            if weight
        }
        self.rollback_at = float(np.log(1.0 / alpha))
        self.promote_at = float(np.log(1.0 / beta))
        self.thresholds = {
            name: Thresholds(round(math.exp(self.rollback_at) / weight, 4), round(math.exp(self.promote_at), 4))
            for name, weight in self.weights.items()
        }
        self._error_limit = error_limit
        self._latency = next(
            ((name, metric) for name, metric in self._metrics.items() if isinstance(metric, Durations)), None
        )

    def initial_state(self, releases: int) -> Mapping[str, State]:
        """The state before the first interval."""
        return {name: metric.initial_state(releases) for name, metric in self._metrics.items()}

    def update(self, state: Mapping[str, State], arrays: IntervalArrays) -> RuleResult:
        """The result of one more interval."""
        incident = self._find_incident(state, arrays)
        arrays = replace(arrays, incident=incident.stable, shared=incident.both)
        after: dict[str, State] = {}
        evidence: dict[str, LogEvidence] = {}
        updates = update_together([*self._metrics.values()], [state[name] for name in self._metrics], arrays)
        for name, (metric_state, log_e) in zip(self._metrics, updates, strict=True):
            after[name], evidence[name] = metric_state, log_e
        logs = {name: log_e.regression for name, log_e in evidence.items()}
        if self._unmeasured_weight:
            logs[""] = np.zeros(len(arrays.step_changed))
        log_regression = log_combined(logs, self._log_weights)
        rolls_back = log_regression >= self.rollback_at
        noninferiority = (
            functools.reduce(np.minimum, (log_e.noninferiority for log_e in evidence.values()))
            if evidence
            else -log_regression - np.inf
        )
        # A stable version that is in trouble itself does not hold a better one back.
        promotes = (noninferiority >= self.promote_at) & ~rolls_back & ~incident.both
        return RuleResult(after, evidence, log_regression, rolls_back, promotes, incident)

    def _find_incident(self, state: Mapping[str, State], arrays: IntervalArrays) -> Incident:
        limit = np.full(len(arrays.step_changed), self._error_limit)
        if arrays.error_limit is not None:
            limit = np.maximum(limit, arrays.error_limit)
        if self._latency is None:
            return find_incident(arrays, None, lambda past: past, limit)
        name, metric = self._latency
        scale = functools.partial(metric.buckets.scale_durations, factor=SLOWDOWN)
        past = Past(state[name]["past"], metric.buckets.past_of_arm(state[name]))
        return find_incident(arrays, past, scale, limit)
