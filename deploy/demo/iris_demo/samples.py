"""One request as the client saw it, and its encoding on the pipe between the two processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple


class Kind(StrEnum):
    """The result of a request; every request has exactly one of these."""

    OK = "ok"
    STATUS = "status"  # answered, but not with a 2xx
    CONNECT = "connect"  # refused, reset or cut off before the response was complete
    TIMEOUT = "timeout"


class Sample(NamedTuple):
    """A finished request.

    ``scheduled`` is the Unix time in seconds at which it was due, ``latency`` the seconds from then
    to the end of the response. Measuring from the due time, not from the time of sending, keeps a
    stalled server from hiding its own delay. ``status`` is 0 and ``version`` empty without a
    response; ``version`` is the response's ``X-Model-Version``. ``late`` is how many seconds after ``scheduled`` the
    generator came to sending it: delay of the client's machine, which is part of ``latency``.
    """

    scheduled: float
    latency: float
    kind: Kind
    status: int
    version: str
    late: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it got a complete 2xx response in time."""
        return self.kind is Kind.OK

    @property
    def finished(self) -> float:
        """When the client had the response or gave up, Unix time in seconds."""
        return self.scheduled + self.latency


class LabelOutcome(StrEnum):
    """What happened to a true label that was sent back."""

    CORRECT = "correct"  # accepted: the prediction was right
    INCORRECT = "incorrect"  # accepted: the prediction was wrong
    LOST = "lost"  # never accepted, despite all retries


class Label(NamedTuple):
    """A true label that was sent back for a prediction of ``version``, at ``at``, Unix time in seconds."""

    at: float
    version: str
    outcome: LabelOutcome


class Batch(NamedTuple):
    """The samples and labels of one line on the pipe."""

    samples: list[Sample]
    labels: list[Label]


def encode(samples: Sequence[Sample], labels: Sequence[Label]) -> str:
    """One line of JSON without its newline."""
    ended = [
        [round(s.scheduled, 4), round(s.latency, 5), s.kind, s.status, s.version, round(s.late, 5)] for s in samples
    ]
    return json.dumps([ended, [[round(label.at, 4), label.version, label.outcome] for label in labels]])


def decode(line: str) -> Batch:
    """Decode a line that `encode` wrote; raises ValueError for a truncated one."""
    try:
        ended: list[Any]
        labelled: list[Any]
        ended, labelled = json.loads(line)
        return Batch(
            [
                Sample(float(due), float(latency), Kind(kind), int(status), str(version), float(late))
                for due, latency, kind, status, version, late in ended
            ],
            [Label(float(at), str(version), LabelOutcome(fate)) for at, version, fate in labelled],
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a line of samples: {line[:80]!r}") from error
