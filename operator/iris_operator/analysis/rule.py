"""The decision over all metrics, as arrays: F6 rolls back, F7 lets the next step begin, anything else waits (F8)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from iris_operator.analysis.check import Bounds
from iris_operator.analysis.evidence.combine import log_combined
from iris_operator.analysis.evidence.logspace import Bools, Floats
from iris_operator.analysis.incident import SLOWER, Incident, find_incident
from iris_operator.analysis.look import Look, Metric, Signals, State
from iris_operator.analysis.metrics.latency import LatencyBuckets
from iris_operator.analysis.metrics.lockstep import fold_together

LATENCY = "latency"


@dataclass(frozen=True)
class Member:
    """A metric with its part in the alarm; parts are made to sum to 1."""

    metric: Metric
    part: float


@dataclass(frozen=True)
class Ruling:
    """One interval's outcome, by release. `worse` and the signals are logarithms of e-values."""

    state: Mapping[str, State]
    signals: Mapping[str, Signals]
    worse: Floats
    fails: Bools
    passes: Bools
    incident: Incident

    def of(self, row: int) -> Ruling:
        """That of one release alone."""
        at = slice(row, row + 1)
        return Ruling(
            {name: {key: value[at] for key, value in state.items()} for name, state in self.state.items()},
            {name: Signals(signal.worse[at], signal.good[at]) for name, signal in self.signals.items()},
            self.worse[at],
            self.fails[at],
            self.passes[at],
            Incident(self.incident.stable[at], self.incident.both[at]),
        )


class Rule:
    """All metrics of releases that have the same settings."""

    def __init__(
        self, members: Mapping[str, Member], alpha: float, beta: float, error_limit: float, absent: float = 0.0
    ) -> None:
        """`alpha` false rollbacks over the whole rollout, `beta` missed regressions; `error_limit` of stable.

        `absent` is the part of metrics that have told nothing yet: their evidence is 1, their stake stays theirs.
        """
        whole = sum(member.part for member in members.values()) + absent
        # Without any metric at all the whole stake waits.
        self._absent = absent / whole if whole else 1.0
        self._metrics = {name: member.metric for name, member in members.items()}
        self.weights = {name: member.part / whole for name, member in members.items()}
        self._log_weights = {
            name: float(np.log(weight)) for name, weight in {**self.weights, "": self._absent}.items() if weight
        }
        self.rollback_at = float(np.log(1.0 / alpha))
        self.promote_at = float(np.log(1.0 / beta))
        self.bounds = {
            name: Bounds(round(math.exp(self.rollback_at) / weight, 4), round(math.exp(self.promote_at), 4))
            for name, weight in self.weights.items()
        }
        self._error_limit = error_limit

    def start(self, releases: int) -> Mapping[str, State]:
        """The state before the first interval."""
        return {name: metric.start(releases) for name, metric in self._metrics.items()}

    def _slowed(self, past: Floats) -> Floats:
        latency = self._metrics[LATENCY]
        return latency.slowed(past, SLOWER) if isinstance(latency, LatencyBuckets) else past

    def fold(self, state: Mapping[str, State], look: Look) -> Ruling:
        """Take one more interval into account."""
        past = state[LATENCY]["past"] if LATENCY in state else None
        incident = find_incident(look, past, self._slowed, self._error_limit)
        look = replace(look, incident=incident.stable)
        after: dict[str, State] = {}
        signals: dict[str, Signals] = {}
        folded = fold_together([*self._metrics.values()], [state[name] for name in self._metrics], look)
        for name, (own, said) in zip(self._metrics, folded, strict=True):
            after[name], signals[name] = own, said
        logs = {name: signal.worse for name, signal in signals.items()}
        if self._absent:
            logs[""] = np.zeros(len(look.step_changed))
        worse = log_combined(logs, self._log_weights)
        fails = worse >= self.rollback_at
        good = (
            functools.reduce(np.minimum, (signal.good for signal in signals.values())) if signals else -worse - np.inf
        )
        return Ruling(after, signals, worse, fails, (good >= self.promote_at) & ~fails & ~incident.stable, incident)
