"""What is required of the rollouts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.aa.plan import FAULTS
from bench.aa.record import Record
from iris_demo.judge import PROMOTED, ROLLED_BACK


@dataclass(frozen=True)
class Bound:
    """Something that is required: ``value`` of ``wanted``."""

    name: str
    value: int
    wanted: int

    @property
    def met(self) -> bool:
        """Whether it is so."""
        return self.value == self.wanted


def bounds(records: Sequence[Record]) -> list[Bound]:
    """The bounds on what was measured; a kind that was left out has none.

    A rollout on a machine that was too busy counts: an identical version may not be rolled back there either.
    """
    identical = [record for record in records if record.case.identical]
    found = []
    if identical:
        rolled_back = sum(record.outcome == ROLLED_BACK for record in identical)
        promoted = sum(record.outcome == PROMOTED for record in identical)
        found += [
            Bound("identical versions rolled back", rolled_back, 0),
            Bound("identical versions promoted", promoted, len(identical)),
        ]
    for fault in FAULTS:
        own = [record for record in records if record.case.kind == fault.kind]
        if own:
            ended = "found" if fault.outcome == ROLLED_BACK else "promoted, as not to be seen"
            as_expected = sum(record.as_expected for record in own)
            found.append(Bound(f"{fault.title}: {ended}", as_expected, len(own)))
    return found


def passed(records: Sequence[Record], planned: int) -> bool:
    """Whether every rollout that was planned was made and every bound is met."""
    return len(records) == planned and all(bound.met for bound in bounds(records))
