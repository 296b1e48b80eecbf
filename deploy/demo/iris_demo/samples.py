"""One request as the client saw it, and its form on the pipe between the two processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple


class Kind(StrEnum):
    """What became of a request; every request ends as exactly one of these."""

    OK = "ok"
    STATUS = "status"  # answered, but not with a 2xx
    CONNECT = "connect"  # refused, reset or cut off before the whole answer was there
    TIMEOUT = "timeout"


class Sample(NamedTuple):
    """A finished request.

    ``scheduled`` is the Unix time in seconds at which it was due, ``latency`` the seconds from then
    to the end of the answer. Measuring from the due time, not from the time of sending, keeps a
    stalled server from hiding its own delay. ``status`` is 0 and ``version`` empty without an
    answer; ``version`` is the answer's ``X-Model-Version``.
    """

    scheduled: float
    latency: float
    kind: Kind
    status: int
    version: str

    @property
    def ok(self) -> bool:
        """Whether it was answered with a 2xx, whole and in time."""
        return self.kind is Kind.OK

    @property
    def finished(self) -> float:
        """When the client had the answer or gave up, Unix time in seconds."""
        return self.scheduled + self.latency


class Fate(StrEnum):
    """What became of a true label that was sent back."""

    CORRECT = "correct"  # taken: the prediction was right
    INCORRECT = "incorrect"  # taken: the prediction was wrong
    LOST = "lost"  # not taken, however often it was sent


class Label(NamedTuple):
    """A true label that was sent back for a prediction of ``version``, at ``at``, Unix time in seconds."""

    at: float
    version: str
    fate: Fate


class Batch(NamedTuple):
    """What happened between two lines on the pipe."""

    samples: list[Sample]
    labels: list[Label]


def encode(samples: Sequence[Sample], labels: Sequence[Label]) -> str:
    """One line of JSON without its line end."""
    ended = [[round(s.scheduled, 4), round(s.latency, 5), s.kind, s.status, s.version] for s in samples]
    return json.dumps([ended, [[round(label.at, 4), label.version, label.fate] for label in labels]])


def decode(line: str) -> Batch:
    """What one line that `encode` wrote says; raises ValueError for a line that was cut off."""
    try:
        ended: list[Any]
        labelled: list[Any]
        ended, labelled = json.loads(line)
        return Batch(
            [
                Sample(float(due), float(latency), Kind(kind), int(status), str(version))
                for due, latency, kind, status, version in ended
            ],
            [Label(float(at), str(version), Fate(fate)) for at, version, fate in labelled],
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a line of samples: {line[:80]!r}") from error
