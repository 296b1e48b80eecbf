"""Which rollouts are made: of an identical version, and of versions with a known fault. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

from iris_demo.judge import PROMOTED, ROLLED_BACK

IDENTICAL: Final = "identical"
# Requests of the canary that a step needs with the default margins; three times maxHarm is tolerated before the last.
_FIRST_STEP_REQUESTS: Final = 185
_STEP_REQUESTS: Final = 370
# Starting pods, warming up, and waiting for scrapes and judgements, in each rollout.
_OVERHEAD_SECONDS: Final = 90
# A rollout that takes this many times as long as expected is not going to end.
_PATIENCE: Final = 3.0
_SHORTEST_LIMIT_SECONDS: Final = 300.0

Variables = tuple[tuple[str, str], ...]
"""Environment variables of a container: names and values."""


@dataclass(frozen=True)
class Case:
    """One rollout: ``first_weight`` in percent, ``rate`` in requests/s through the Ingress.

    ``stable_fault`` and ``canary_fault`` are variables of the image for faulty versions; without any both versions are
    the plain image. ``outcome`` and ``cause`` are what is expected.
    """

    kind: str
    title: str
    replicas: int
    first_weight: int
    rate: float
    outcome: str = PROMOTED
    cause: str = ""
    stable_fault: Variables = ()
    canary_fault: Variables = ()

    @property
    def identical(self) -> bool:
        """Whether the new version is the same as stable."""
        return self.kind == IDENTICAL

    @property
    def needs_faulty_image(self) -> bool:
        """Whether its image is the one whose fault is set by variables."""
        return bool(self.stable_fault or self.canary_fault)

    @property
    def name(self) -> str:
        """What it is, for a line of the log."""
        return f"{self.title}, {self.replicas} replicas, {self.first_weight} % first, {self.rate:g}/s"

    @property
    def steps(self) -> tuple[int, ...]:
        """The weights of its steps in percent."""
        return (self.first_weight, 50, 100)

    @property
    def expected_seconds(self) -> float:
        """How long a good version takes, about."""
        first, half = self.rate * self.first_weight / 100, self.rate / 2
        return _OVERHEAD_SECONDS + _FIRST_STEP_REQUESTS / first + 2 * _STEP_REQUESTS / half

    @property
    def limit_seconds(self) -> float:
        """When a rollout is given up."""
        return max(_SHORTEST_LIMIT_SECONDS, _PATIENCE * self.expected_seconds)


@dataclass(frozen=True)
class Group:
    """Cases that one release object takes one after the other."""

    release: str
    cases: tuple[Case, ...]

    @property
    def expected_seconds(self) -> float:
        """How long all of them take, about."""
        return sum(case.expected_seconds for case in self.cases)


# First weight in percent and requests/s. At 10/s a first weight of 5 % would take ten minutes: there 33 % begins.
_RATES: Final = ((5, 100), (10, 60), (33, 30), (5, 60), (10, 100), (33, 10), (10, 30), (33, 100))
REPLICAS: Final = (1, 2, 3)
IDENTICAL_CASES: Final = tuple(
    Case(IDENTICAL, IDENTICAL, replicas, first, rate) for replicas in REPLICAS for first, rate in _RATES
)
# In which order a part of them is taken: each number of replicas in turn.
_IN_TURN: Final = tuple(
    IDENTICAL_CASES[group * len(_RATES) + index] for index in range(len(_RATES)) for group in range(len(REPLICAS))
)

# 20 ms of processor time for each request, of which a percentage means something. 30 requests/s use it half of a core.
_WORK: Final = (("FAULT_WORK_MS", "20"),)
_NO_FAILURES: Final = (("FAULT_FAILURES", "0"),)
_IN_ORDER: Final = (("FAULT_EXCHANGE", "0"),)
_EXCHANGED: Final = (("FAULT_EXCHANGE", "1"),)
FAULTS: Final = (
    Case("slower-100", "100 % more work", 2, 10, 30, ROLLED_BACK, "Latency", _WORK, (("FAULT_WORK_MS", "40"),)),
    # 4 ms, which is less than the 5 ms of minDifference: nobody is to notice it, and it is no reason to roll back.
    Case("slower-20", "20 % more work", 2, 10, 30, PROMOTED, "", _WORK, (("FAULT_WORK_MS", "24"),)),
    # Failures of the model, which are two checks' business: whichever has the evidence first.
    Case("errors-5", "5 % fail", 2, 10, 100, ROLLED_BACK, "", _NO_FAILURES, (("FAULT_FAILURES", "0.05"),)),
    Case("errors-1", "1 % fail", 2, 10, 100, ROLLED_BACK, "", _NO_FAILURES, (("FAULT_FAILURES", "0.01"),)),
    Case("exchanged", "exchanged classes", 2, 10, 60, ROLLED_BACK, "PredictionDrift", _IN_ORDER, _EXCHANGED),
)
KINDS: Final = (IDENTICAL, *(case.kind for case in FAULTS))
REPETITIONS: Final = 3
_QUICK: Final = 3


def plan(only: Sequence[str], rollouts: int, repetitions: int, *, quick: bool = False) -> list[Group]:
    """The cases by release object: ``rollouts`` of an identical version, and each fault ``repetitions`` times.

    ``only`` are kinds; empty: all. ``quick``: a few of each, to try the benchmark and not to quote it.
    """
    kinds = only or KINDS
    if quick:
        rollouts, repetitions = min(rollouts, _QUICK), 1
    identical = list(islice(cycle(_IN_TURN), rollouts)) if IDENTICAL in kinds else []
    groups = [
        Group(f"bench-aa-{replicas}", tuple(case for case in identical if case.replicas == replicas))
        for replicas in REPLICAS
    ]
    groups += [
        Group(f"bench-aa-{case.kind}", (case,) * repetitions) for case in FAULTS if case.kind in kinds and repetitions
    ]
    return [group for group in groups if group.cases]


def expected_seconds(groups: Iterable[Group]) -> float:
    """How long they take one after the other, about."""
    return sum(group.expected_seconds for group in groups)
