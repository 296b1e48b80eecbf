"""One request as the client saw it, and its form on the pipe between the two processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


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


def encode(samples: Sequence[Sample]) -> str:
    """One line of JSON without its line end."""
    return json.dumps([[round(s.scheduled, 4), round(s.latency, 5), s.kind, s.status, s.version] for s in samples])


def decode(line: str) -> list[Sample]:
    """The samples of one line that `encode` wrote; raises ValueError for a line that was cut off."""
    try:
        rows: list[tuple[float, float, str, int, str]] = json.loads(line)
        return [
            Sample(float(due), float(latency), Kind(kind), int(status), str(version))
            for due, latency, kind, status, version in rows
        ]
    except ValueError as error:
        raise ValueError(f"not a line of samples: {line[:80]!r}") from error
