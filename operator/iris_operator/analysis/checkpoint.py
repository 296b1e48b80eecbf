"""The evidence so far as a small JSON value in the status, from which a restarted operator goes on.

Everything is stored exactly as it is used, so that a restart changes no decision by a single bit. With the default
checks, 12 histogram bounds and 3 classes it takes about 3 kB, and never more than MAX_SIZE; tests hold both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydantic_core

from iris_operator.analysis.arrays import State
from iris_operator.analysis.check import Checkpoint, Shape, Totals
from iris_operator.analysis.evidence.logspace import Floats

# Of this format. A checkpoint of another version is ignored: the release is judged from the start.
VERSION = 3
# Bytes of the text, whatever is measured: the numbers of classes, bounds, tiers and features in it are limited.
MAX_SIZE = 16 * 1024


@dataclass(frozen=True)
class CheckpointState:
    """A rollout's evidence.

    `next_weight` and `step` are those of the last judged interval (others mean that a step began); `states` has each
    evidence check's state as one row of numbers, `custom` the breaches in a row by check.
    """

    shape: Shape = field(default_factory=Shape)
    next_weight: int = 0
    step: int = 0
    usual_errors: float = 0.0
    """Share of failed requests of both that has lasted so long that it is normal now; 0 as a rule."""
    totals: Totals = field(default_factory=Totals)
    states: Mapping[str, Floats] = field(default_factory=dict)
    custom: Mapping[str, int] = field(default_factory=dict)


def to_json(state: CheckpointState) -> dict[str, Any]:
    """A JSON-able value; `from_json` restores it bit for bit."""
    shape = state.shape
    return {
        "v": VERSION,
        "bounds": list(shape.bounds),
        "classes": list(shape.classes),
        "tiers": list(shape.tiers),
        "paired": shape.paired,
        "control": shape.control,
        "sums": shape.sums,
        "step": state.step,
        "usualErrors": state.usual_errors,
        "next": state.next_weight,
        "split": list(state.totals.split),
        "claimed": state.totals.claimed,
        "checks": {name: row.tolist() for name, row in state.states.items()},
        "custom": dict(state.custom),
        "features": {name: list(bins) for name, bins in state.totals.features.items()},
    }


def from_json(checkpoint: Checkpoint) -> CheckpointState:
    """The state in a value of `to_json`; an empty one if it cannot be read (another version, edited by hand)."""
    try:
        if checkpoint["v"] != VERSION:
            return CheckpointState()
        return CheckpointState(
            shape=Shape(
                tuple(float(bound) for bound in checkpoint["bounds"]),
                tuple(str(name) for name in checkpoint["classes"]),
                # An older checkpoint has none: its release is judged to the end as it began.
                tuple(str(name) for name in checkpoint.get("tiers", ())),
                bool(checkpoint["paired"]),
                bool(checkpoint["control"]),
                bool(checkpoint["sums"]),
            ),
            step=int(checkpoint["step"]),
            usual_errors=float(checkpoint["usualErrors"]),
            next_weight=int(checkpoint["next"]),
            totals=Totals(
                split=(int(checkpoint["split"][0]), int(checkpoint["split"][1])),
                claimed=float(checkpoint["claimed"]),
                features={str(name): tuple(int(n) for n in bins) for name, bins in checkpoint["features"].items()},
            ),
            states={str(name): _numbers(row) for name, row in checkpoint["checks"].items()},
            custom={str(name): int(count) for name, count in checkpoint["custom"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        return CheckpointState()


def serialize(checkpoint: Checkpoint) -> str:
    """The checkpoint as text for the status; `parse` restores every number bit for bit."""
    return pydantic_core.to_json(checkpoint).decode()


def parse(text: str) -> Checkpoint:
    """The checkpoint in a text of `serialize`; an empty one when the text is not a JSON object, edited by hand."""
    try:
        checkpoint = pydantic_core.from_json(text)
    except ValueError:
        return {}
    return checkpoint if isinstance(checkpoint, dict) else {}


def weight_in_checkpoint(text: str) -> int:
    """The next weight, in percent, of the last judgement; 0 when the checkpoint cannot be read."""
    return from_json(parse(text)).next_weight


@dataclass(frozen=True, eq=False)
class StateLayout:
    """How a check's state is stored as rows of numbers, one row per release.

    `columns` has the columns of each array of the state: a number where a release has one value, a slice where it has
    several. `initial` is the row of a release that begins.
    """

    columns: Mapping[str, int | slice]
    initial: Floats

    @staticmethod
    def of(initial: State) -> StateLayout:
        """The layout of states like this one, which is a single release's."""
        columns: dict[str, int | slice] = {}
        at = 0
        for name in sorted(initial):
            value = initial[name]
            columns[name] = at if value.ndim == 1 else slice(at, at + value.size)
            at += value.size
        return StateLayout(columns, np.concatenate([initial[name].ravel() for name in columns]))

    def rows(self, state: State) -> Floats:
        """All numbers of the state, one row per release."""
        rows = np.empty((len(next(iter(state.values()))), len(self.initial)))
        for name, columns in self.columns.items():
            rows[:, columns] = state[name]
        return rows

    def state(self, rows: Sequence[Floats | None]) -> State:
        """The state with these numbers; the initial one where they do not fit, after a change of code or spec."""
        size = self.initial.size
        table = np.array([self.initial if row is None or row.size != size else row for row in rows])
        return {name: table[:, columns] for name, columns in self.columns.items()}


def _numbers(row: Any) -> Floats:
    # With anything else in the row its sum is not finite, or fails.
    if not math.isfinite(sum(row)):
        raise ValueError("not a row of numbers")
    return np.array(row, dtype=np.float64)
