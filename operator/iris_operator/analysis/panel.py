"""What releases with the same settings share: their checks and the rule over them, built once and kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from iris_operator.analysis.check import Check, Shape
from iris_operator.analysis.memory import Layout
from iris_operator.analysis.registry import build_checks
from iris_operator.analysis.rule import Member, Rule
from iris_operator.api.spec import Analysis, Checks

# Settings times shapes of a fleet; a fleet with more of them builds some anew.
_KEPT = 256


@dataclass(frozen=True, eq=False)
class Panel:
    """The checks of releases that are alike, without those that have told nothing, and how their states are kept."""

    rule: Rule
    layouts: Mapping[str, Layout]


class _Settings:
    """Settings that can be looked up by their value; custom queries are no part of the rule."""

    def __init__(self, settings: Analysis) -> None:
        self.value = settings
        checks = settings.checks
        self._key = (
            settings.false_rollback,
            settings.missed_regression,
            *(getattr(checks, name) for name in Checks.model_fields if name != "custom"),
        )
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Settings) and self._key == other._key


def checks_of(settings: Analysis, shape: Shape, measured: Collection[str] | None) -> Mapping[str, Check]:
    """The judges of a release, by name; only those that are `measured`, when that is given."""
    return _checks(_Settings(settings), shape, None if measured is None else frozenset(measured))


def panel_of(settings: Analysis, shape: Shape, measured: Collection[str] | None, silent: Collection[str]) -> Panel:
    """The rule over the checks that have told something; `silent` names the others."""
    return _panel(_Settings(settings), shape, None if measured is None else frozenset(measured), frozenset(silent))


@lru_cache(maxsize=_KEPT)
def _checks(settings: _Settings, shape: Shape, measured: frozenset[str] | None) -> Mapping[str, Check]:
    checks = build_checks(settings.value.checks, shape)
    return {name: check for name, check in checks.items() if measured is None or name in measured}


@lru_cache(maxsize=_KEPT)
def _panel(settings: _Settings, shape: Shape, measured: frozenset[str] | None, silent: frozenset[str]) -> Panel:
    checks, analysis = _checks(settings, shape, measured), settings.value
    rule = Rule(
        {name: Member(check.metric(), check.part) for name, check in checks.items() if name not in silent},
        analysis.false_rollback,
        analysis.missed_regression,
        analysis.checks.error_rate.shared_incident,
        absent=sum(checks[name].part for name in silent),
    )
    return Panel(rule, {name: Layout.of(fresh) for name, fresh in rule.start(1).items()})
