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
_CHECKS = tuple(name for name in Checks.model_fields if name != "custom")


@dataclass(frozen=True, eq=False)
class Panel:
    """The checks of releases that are alike, without those that have told nothing, and how their states are kept."""

    rule: Rule
    layouts: Mapping[str, Layout]


class Board:
    """The checks of releases with the same settings and the same shape, and a panel for each of their silences."""

    def __init__(self, settings: Analysis, shape: Shape, measured: Collection[str] | None) -> None:
        """`measured` names the checks that can be counted for at all; all of them when None."""
        self._settings = settings
        built = build_checks(settings.checks, shape)
        self.checks: Mapping[str, Check] = {
            name: check for name, check in built.items() if measured is None or name in measured
        }
        self._panels: dict[frozenset[str], Panel] = {}

    def panel(self, silent: Collection[str]) -> Panel:
        """The rule over the checks that have told something; `silent` names the others."""
        without = frozenset(silent)
        if without not in self._panels:
            self._panels[without] = self._build(without)
        return self._panels[without]

    def _build(self, silent: frozenset[str]) -> Panel:
        rule = Rule(
            {name: Member(check.metric(), check.part) for name, check in self.checks.items() if name not in silent},
            self._settings.false_rollback,
            self._settings.missed_regression,
            self._settings.checks.error_rate.shared_incident,
            absent=sum(self.checks[name].part for name in silent),
        )
        return Panel(rule, {name: Layout.of(fresh) for name, fresh in rule.start(1).items()})


class _Settings:
    """Settings that can be looked up by their value; custom queries are no part of the rule."""

    def __init__(self, settings: Analysis) -> None:
        self.value = settings
        checks = settings.checks
        self._key = (
            settings.false_rollback,
            settings.missed_regression,
            *(getattr(checks, name) for name in _CHECKS),
        )
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Settings) and self._key == other._key


def board_of(settings: Analysis, shape: Shape, measured: Collection[str] | None) -> Board:
    """The board of a release; only with the checks that are `measured`, when that is given."""
    return _board(_Settings(settings), shape, None if measured is None else frozenset(measured))


@lru_cache(maxsize=_KEPT)
def _board(settings: _Settings, shape: Shape, measured: frozenset[str] | None) -> Board:
    return Board(settings.value, shape, measured)
