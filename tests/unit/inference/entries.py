"""Records for tests, told apart by their request id."""

import json
from datetime import UTC, datetime

from iris_inference.records import Backlog, Entry, RecordedInstance, RequestRecord, encode

AT = datetime(2024, 1, 31, 12, tzinfo=UTC)


def record(request_id: str, rows: int = 1, at: datetime = AT) -> RequestRecord:
    flower = RecordedInstance((5.1, 3.5, 1.4, 0.2), "setosa", (1.0, 0.0, 0.0))
    return RequestRecord(request_id, at, "iris", "1.0.0", "d", "r", (flower,) * rows)


def entry(request_id: str, rows: int = 1) -> Entry:
    return encode(record(request_id, rows))


def request_id(entry: Entry) -> str:
    return str(json.loads(entry.payload)["request_id"])


def waiting(spool: Backlog) -> list[str]:
    """What the spool gives, in order, to the last entry; empties it."""
    found: list[str] = []
    while entries := spool.peek(100):
        found += map(request_id, entries)
        spool.forget(len(entries))
    return found
