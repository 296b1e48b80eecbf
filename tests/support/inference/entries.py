"""Records for tests, identified by their request id."""

from datetime import UTC, datetime

from iris_inference.model.prediction import Prediction
from iris_inference.recording import copy_format
from iris_inference.recording.copy_format import RowEncoder
from iris_inference.recording.record import Backlog, Entry

AT = datetime(2024, 1, 31, 12, tzinfo=UTC)
_ENCODER = RowEncoder(("iris", "1.0.0", "d" * 64, "r"), 4, ("setosa", "versicolor", "virginica"))
_INSTANCE = (5.1, 3.5, 1.4, 0.2)
_PREDICTION = Prediction(0, (1.0, 0.0, 0.0))


def entry(request_id: str, rows: int = 1, at: datetime = AT) -> Entry:
    return _ENCODER.encode(request_id, at.timestamp(), [_INSTANCE] * rows, [_PREDICTION] * rows)


def request_id(entry: Entry) -> str:
    return copy_format.first_request_id(copy_format.to_rows(entry))


def drain(spool: Backlog) -> list[str]:
    """Remove all entries and return their request ids in order."""
    request_ids: list[str] = []
    while entries := spool.peek(100):
        request_ids += map(request_id, entries)
        spool.remove(len(entries))
    return request_ids
