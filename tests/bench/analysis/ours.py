"""The rule that is measured: the operator's own, with the defaults of the resource, for many rollouts at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.analysis.peers import Answer
from bench.analysis.traffic import BOUNDS, MIX
from iris_operator.analysis.check import Shape
from iris_operator.analysis.look import Look, State
from iris_operator.analysis.registry import build_checks
from iris_operator.analysis.rule import Member, Rule
from iris_operator.api.spec import AccuracyCheck, Analysis, Checks

CLASSES = tuple(f"class{number}" for number in range(len(MIX)))


def settings(*, labels: bool = False) -> Analysis:
    """The defaults; accuracy is on where labels come."""
    return Analysis(checks=Checks(accuracy=AccuracyCheck() if labels else None))


def build_rule(analysis: Analysis, *, cached: bool = False) -> Rule:
    """The rule of a release with these settings; `cached`: its service tells what its cache answered."""
    checks = build_checks(analysis.checks, Shape(BOUNDS, CLASSES, ("local",) if cached else ()))
    members = {name: Member(check.metric(), check.part) for name, check in checks.items()}
    limit = analysis.checks.error_rate.shared_incident
    return Rule(members, analysis.false_rollback, analysis.missed_regression, limit)


class Ours:
    """As a policy of the benchmark. `passed` says of each metric where it would let the canary go on."""

    name = "this operator"

    def __init__(self, rollouts: int, *, labels: bool = False, cached: bool = False) -> None:
        self._rule = build_rule(settings(labels=labels), cached=cached)
        self._state: Mapping[str, State] = self._rule.start(rollouts)

    def learn(self, look: Look) -> None:
        """See `Policy.learn`."""
        self._state = self._rule.fold(self._state, look).state

    def answer(self, look: Look, second: float) -> Answer:  # noqa: ARG002 - it needs no clock
        """See `Policy.answer`."""
        ruling = self._rule.fold(self._state, look)
        self._state = ruling.state
        self.passed = {name: signal.good >= self._rule.promote_at for name, signal in ruling.signals.items()}
        return Answer(np.asarray(ruling.fails), np.asarray(ruling.passes))
