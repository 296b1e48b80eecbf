"""The evidence so far as a small JSON value, for the status: what a restarted operator goes on with.

Everything is stored exactly as it is used, so that a restart changes no decision by a single bit. With the default checks,
12 histogram bounds and 3 classes it takes about 3 kB (tests/unit/operator/analysis/test_memory.py holds the bound).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from iris_operator.analysis.check import Memory, Shape
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.look import State

# Of the layout. Evidence of another version is not understood: the release is judged from the start.
VERSION = 1


@dataclass(frozen=True)
class Remembered:
    """A rollout's evidence.

    `next_weight` is that of the last judged interval (another one means that a step began); `split` the requests of
    canary and stable in this step; `custom` the breaches in a row by check; `features` the traffic so far by bucket.
    """

    shape: Shape = field(default_factory=Shape)
    next_weight: int = 0
    split: tuple[int, int] = (0, 0)
    states: Mapping[str, State] = field(default_factory=dict)
    custom: Mapping[str, int] = field(default_factory=dict)
    features: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def to_json(remembered: Remembered) -> dict[str, Any]:
    """A JSON-able value; `from_json` restores it bit for bit."""
    shape = remembered.shape
    return {
        "v": VERSION,
        "bounds": list(shape.bounds),
        "classes": list(shape.classes),
        "paired": shape.paired,
        "next": remembered.next_weight,
        "split": list(remembered.split),
        "checks": {
            name: {key: _packed(value) for key, value in state.items()} for name, state in remembered.states.items()
        },
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
                bool(memory["paired"]),
            ),
            next_weight=int(memory["next"]),
            split=(int(memory["split"][0]), int(memory["split"][1])),
            states={
                name: {key: _unpacked(value) for key, value in state.items()}
                for name, state in memory["checks"].items()
            },
            custom={str(name): int(count) for name, count in memory["custom"].items()},
            features={str(name): tuple(int(n) for n in buckets) for name, buckets in memory["features"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        return Remembered()


def fits(state: State, fresh: State) -> bool:
    """Has this state the form of a fresh one? Not after a change of the code, or of the spec."""
    return state.keys() == fresh.keys() and all(state[name].shape == fresh[name].shape for name in fresh)


def _packed(value: Floats) -> Any:
    """The first (and only) release's row; the logarithm of nothing as null."""
    row = value[0]
    return row.tolist() if np.isfinite(row).all() else [_finite(item) for item in row.ravel().tolist()]


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


def _unpacked(value: Any) -> Floats:
    row = np.array(_floats(value), dtype=np.float64)
    if np.isnan(row).any():
        raise ValueError("not a number")
    return row[None]


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return -math.inf if value is None else float(value)
