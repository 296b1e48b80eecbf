import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from iris_inference.records import BatchRecorder, PredictionRecord, StoreRefusedError, StoreUnavailableError
from iris_inference.schemas import FEATURES
from iris_inference.telemetry import Metrics
from unit.inference import graphs


class Store:
    """Takes records while it is open; can be away, refuse, and be waited for."""

    def __init__(self) -> None:
        self.batches: list[list[PredictionRecord]] = []
        self.away = threading.Event()
        self.refuses = False
        self.asked = threading.Semaphore(0)

    def prepare(self) -> None:
        if self.away.is_set():
            raise StoreUnavailableError("away")

    def insert(self, records: Sequence[PredictionRecord]) -> int:
        try:
            if self.away.is_set():
                raise StoreUnavailableError("away")
            if self.refuses:
                raise StoreRefusedError("never")
            known = {(row.request_id, row.instance) for batch in self.batches for row in batch}
            self.batches.append(list(records))
            return sum((row.request_id, row.instance) not in known for row in records)
        finally:
            self.asked.release()

    def rows(self) -> list[str]:
        return [row.request_id for batch in self.batches for row in batch]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(graphs.artifact(b"").manifest, FEATURES)


@pytest.fixture
def store() -> Store:
    return Store()


def rows(request_id: str, count: int = 1) -> list[PredictionRecord]:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        PredictionRecord(request_id, place, now, "iris", "1.0.0", "d", "r", (1.0,), "setosa", (1.0, 0.0, 0.0))
        for place in range(count)
    ]


def counted(metrics: Metrics) -> Callable[[str], float]:
    return lambda result: metrics.registry.get_sample_value("prediction_records_total", {"result": result}) or 0.0


def test_records_are_written_in_order_and_counted(store: Store, metrics: Metrics) -> None:
    recorder = BatchRecorder(store, metrics, capacity=100, batch=10)
    for number in range(30):
        recorder.submit(rows(str(number)))
    recorder.close(5)
    assert store.rows() == [str(number) for number in range(30)]
    assert counted(metrics)("recorded") == 30


def test_many_requests_share_a_statement(store: Store, metrics: Metrics) -> None:
    recorder = BatchRecorder(store, metrics, capacity=1_000, batch=100)
    for number in range(200):
        recorder.submit(rows(str(number)))
    recorder.close(5)
    assert len(store.batches) < 20
    assert max(map(len, store.batches)) <= 100


def test_a_request_never_waits_and_what_does_not_fit_is_dropped_and_counted(store: Store, metrics: Metrics) -> None:
    store.away.set()
    recorder = BatchRecorder(store, metrics, capacity=10, batch=1)
    for number in range(100):
        recorder.submit(rows(str(number)))
    dropped = counted(metrics)("dropped")
    assert dropped >= 89
    store.away.clear()
    recorder.close(5)
    assert counted(metrics)("recorded") == 100 - dropped
    assert len(store.rows()) == 100 - dropped


def test_the_records_of_a_request_are_kept_together_or_not_at_all(store: Store, metrics: Metrics) -> None:
    recorder = BatchRecorder(store, metrics, capacity=10, batch=10)
    recorder.submit(rows("too-many", 11))
    recorder.close(5)
    assert store.rows() == []
    assert counted(metrics)("dropped") == 11


def test_what_waited_for_the_database_is_written_once_it_is_back(store: Store, metrics: Metrics) -> None:
    store.away.set()
    recorder = BatchRecorder(store, metrics, capacity=100, batch=10)
    recorder.submit(rows("a", 3))
    assert store.asked.acquire(timeout=5)
    store.away.clear()
    recorder.close(5)
    assert store.rows() == ["a", "a", "a"]
    assert counted(metrics)("retried") >= 3
    assert counted(metrics)("recorded") == 3


def test_a_batch_that_is_refused_does_not_hold_up_the_next(store: Store, metrics: Metrics) -> None:
    store.refuses = True
    recorder = BatchRecorder(store, metrics, capacity=100, batch=10)
    recorder.submit(rows("bad"))
    assert store.asked.acquire(timeout=5)
    store.refuses = False
    recorder.submit(rows("good"))
    recorder.close(5)
    assert store.rows() == ["good"]
    assert (counted(metrics)("dropped"), counted(metrics)("recorded")) == (1, 1)


def test_a_request_id_that_was_used_before_is_counted_as_a_duplicate(store: Store, metrics: Metrics) -> None:
    recorder = BatchRecorder(store, metrics, capacity=100, batch=1)
    recorder.submit(rows("same"))
    recorder.submit(rows("same"))
    recorder.close(5)
    assert (counted(metrics)("recorded"), counted(metrics)("duplicate")) == (1, 1)


def test_closing_while_the_database_is_away_ends_in_time_and_counts_the_loss(store: Store, metrics: Metrics) -> None:
    store.away.set()
    recorder = BatchRecorder(store, metrics, capacity=100, batch=2)
    recorder.submit(rows("a", 6))
    recorder.close(0.2)
    assert counted(metrics)("dropped") == 6


def test_what_comes_after_closing_is_dropped_and_counted(store: Store, metrics: Metrics) -> None:
    recorder = BatchRecorder(store, metrics, capacity=100, batch=2)
    recorder.close(1)
    recorder.submit(rows("late"))
    assert counted(metrics)("dropped") == 1
