"""The checks and the rule of releases with the same settings: built once and cached."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from iris_operator.analysis.check import Check, Shape
from iris_operator.analysis.checkpoint import StateLayout
from iris_operator.analysis.registry import build_checks
from iris_operator.analysis.rule import Rule, WeightedMetric
from iris_operator.api.checks import Analysis, EvidenceChecks

# Combinations of settings and shapes; a fleet with more of them builds some anew.
_CACHE_SIZE = 256


@dataclass(frozen=True, eq=False)
class CheckSet:
    """The rule over the checks that are measured, and how their states are stored."""

    rule: Rule
    layouts: Mapping[str, StateLayout]


class RuleCache:
    """The checks of releases with the same settings and shape, and a rule for each set of checks that is measured."""

    def __init__(self, settings: Analysis, shape: Shape, measured: Collection[str] | None) -> None:
        """`measured` names the checks that can be counted for at all; all of them when None."""
        self._settings = settings
        built = build_checks(settings.checks, shape)
        self.checks: Mapping[str, Check] = {
            name: check for name, check in built.items() if measured is None or name in measured
        }
        self._check_sets: dict[frozenset[str], CheckSet] = {}

    def check_set(self, unmeasured: Collection[str]) -> CheckSet:
        """The rule over the checks that were measured in this interval; `unmeasured` names the others."""
        key = frozenset(unmeasured)
        if key not in self._check_sets:
            self._check_sets[key] = self._build(key)
        return self._check_sets[key]

    def _build(self, unmeasured: frozenset[str]) -> CheckSet:
        rule = Rule(
            {
                name: WeightedMetric(check.metric(), check.weight)
                for name, check in self.checks.items()
                if name not in unmeasured
            },
            self._settings.false_rollback,
            self._settings.missed_regression,
            self._settings.checks.error_rate.shared_incident,
            unmeasured_weight=sum(self.checks[name].weight for name in unmeasured),
        )
        return CheckSet(rule, {name: StateLayout.of(initial) for name, initial in rule.initial_state(1).items()})


class _SettingsKey:
    """Settings as a key, compared by value; custom queries are not part of the rule."""

    def __init__(self, settings: Analysis) -> None:
        self.value = settings
        checks = settings.checks
        self._key = (
            settings.false_rollback,
            settings.missed_regression,
            *(getattr(checks, name) for name in EvidenceChecks.model_fields),
        )
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SettingsKey) and self._key == other._key


def rule_cache_of(settings: Analysis, shape: Shape, measured: Collection[str] | None) -> RuleCache:
    """The cached checks of a release; only those in `measured`, unless that is None."""
    return _cached_rule_cache(_SettingsKey(settings), shape, None if measured is None else frozenset(measured))


@lru_cache(maxsize=_CACHE_SIZE)
def _cached_rule_cache(settings: _SettingsKey, shape: Shape, measured: frozenset[str] | None) -> RuleCache:
    return RuleCache(settings.value, shape, measured)
