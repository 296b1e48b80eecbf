"""Records for tests, told apart by their request id."""

from datetime import UTC, datetime

from iris_inference import copyrows
from iris_inference.copyrows import RowEncoder
from iris_inference.predictions import Prediction
from iris_inference.records import Backlog, Entry

AT = datetime(2024, 1, 31, 12, tzinfo=UTC)
_ENCODER = RowEncoder(("iris", "1.0.0", "d" * 64, "r"), 4, ("setosa", "versicolor", "virginica"))
_FLOWER = (5.1, 3.5, 1.4, 0.2)
_PREDICTION = Prediction(0, (1.0, 0.0, 0.0))


def entry(request_id: str, rows: int = 1, at: datetime = AT) -> Entry:
    return _ENCODER.entry(request_id, at.timestamp(), [_FLOWER] * rows, [_PREDICTION] * rows)


def request_id(entry: Entry) -> str:
    return copyrows.request_id(copyrows.rows(entry))


def waiting(spool: Backlog) -> list[str]:
    """What the spool gives, in order, to the last entry; empties it."""
    found: list[str] = []
    while entries := spool.peek(100):
        found += map(request_id, entries)
        spool.forget(len(entries))
    return found
