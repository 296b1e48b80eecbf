"""The evidence so far as a small JSON value, for the status: what a restarted operator goes on with.

Everything is stored exactly as it is used, so that a restart changes no decision by a single bit. With the default
checks, 12 histogram bounds and 3 classes it takes about 3 kB; a test holds the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydantic_core

from iris_operator.analysis.check import Memory, Shape
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.look import State

# Of the layout. Evidence of another version is not understood: the release is judged from the start.
VERSION = 2


@dataclass(frozen=True)
class Remembered:
    """A rollout's evidence.

    `next_weight` is that of the last judged interval (another one means that a step began); `split` the requests of
    canary and stable in this step; `states` each check's numbers in one row; `custom` the breaches in a row by check;
    `features` the traffic so far by bucket.
    """

    shape: Shape = field(default_factory=Shape)
    next_weight: int = 0
    split: tuple[int, int] = (0, 0)
    states: Mapping[str, Floats] = field(default_factory=dict)
    custom: Mapping[str, int] = field(default_factory=dict)
    features: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def to_json(remembered: Remembered) -> dict[str, Any]:
    """A JSON-able value; `from_json` restores it bit for bit."""
    shape = remembered.shape
    return {
        "v": VERSION,
        "bounds": list(shape.bounds),
        "classes": list(shape.classes),
        "tiers": list(shape.tiers),
        "paired": shape.paired,
        "next": remembered.next_weight,
        "split": list(remembered.split),
        "checks": {name: row.tolist() for name, row in remembered.states.items()},
        "custom": dict(remembered.custom),
        "features": {name: list(buckets) for name, buckets in remembered.features.items()},
    }


def from_json(memory: Memory) -> Remembered:
    """The evidence in a value of `to_json`; none at all when it is not understood (another version, edited by hand)."""
    try:
        if memory["v"] != VERSION:
            return Remembered()
        return Remembered(
            shape=Shape(
                tuple(float(bound) for bound in memory["bounds"]),
                tuple(str(name) for name in memory["classes"]),
                # Older evidence has none: its release is judged to the end as it was begun.
                tuple(str(name) for name in memory.get("tiers", ())),
                bool(memory["paired"]),
            ),
            next_weight=int(memory["next"]),
            split=(int(memory["split"][0]), int(memory["split"][1])),
            states={str(name): _numbers(row) for name, row in memory["checks"].items()},
            custom={str(name): int(count) for name, count in memory["custom"].items()},
            features={str(name): tuple(int(n) for n in buckets) for name, buckets in memory["features"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        return Remembered()


def written(memory: Memory) -> str:
    """The evidence as text, for the status; every number is read back as it was, to the last bit."""
    return pydantic_core.to_json(memory).decode()


def read(text: str) -> Memory:
    """What `written` wrote; nothing when somebody has edited it into something that is no JSON object."""
    try:
        memory = pydantic_core.from_json(text)
    except ValueError:
        return {}
    return memory if isinstance(memory, dict) else {}


def judged_for(text: str) -> int:
    """The weight, in percent, that the last judgement was about; 0 when the evidence is not understood."""
    return from_json(read(text)).next_weight


@dataclass(frozen=True, eq=False)
class Layout:
    """How a check's state stands in a row of numbers: by name, each release's in a row of its own.

    `places` has the columns of each name: a number where a release has one value, a slice where it has several. `fresh`
    is the row of a release that begins.
    """

    places: Mapping[str, int | slice]
    fresh: Floats

    @staticmethod
    def of(fresh: State) -> Layout:
        """That of states like this one, which is a single release's."""
        places: dict[str, int | slice] = {}
        at = 0
        for name in sorted(fresh):
            value = fresh[name]
            places[name] = at if value.ndim == 1 else slice(at, at + value.size)
            at += value.size
        return Layout(places, np.concatenate([fresh[name].ravel() for name in places]))

    def rows(self, state: State) -> Floats:
        """All numbers of the state, a row a release."""
        rows = np.empty((len(next(iter(state.values()))), len(self.fresh)))
        for name, place in self.places.items():
            rows[:, place] = state[name]
        return rows

    def state(self, rows: Sequence[Floats | None]) -> State:
        """The state with these numbers; a fresh one where they do not fit it, after a change of code or spec."""
        size = self.fresh.size
        whole = np.array([self.fresh if row is None or row.size != size else row for row in rows])
        return {name: whole[:, place] for name, place in self.places.items()}


def _numbers(row: Any) -> Floats:
    # The sum of a row with anything else in it is no finite number, or none at all.
    if not math.isfinite(sum(row)):
        raise ValueError("not a row of numbers")
    return np.array(row, dtype=np.float64)
