import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from iris_inference import metric_names
from iris_inference.api.context import record_not_kept
from iris_inference.api.schemas import FEATURES
from iris_inference.metrics.registry import Metrics
from iris_inference.recording import copy_format
from iris_inference.recording.memory_backlog import MemoryBacklog
from iris_inference.recording.record import (
    Backlog,
    Entry,
    RecordNotKeptError,
    Refusal,
    StoreRefusedError,
    StoreUnavailableError,
)
from iris_inference.recording.recorder import BatchRecorder
from iris_inference.recording.spool import Spool
from support.inference import graphs
from support.inference.entries import entry, request_id


class FakeStore:
    """A store that can be unavailable, reject some records and lose replies."""

    def __init__(self) -> None:
        self.batches: list[list[Entry]] = []
        self.stored: set[str] = set()
        self.unavailable = threading.Event()
        self.replies_to_lose = 0
        self.rejected: set[str] = set()
        self.inserts = threading.Semaphore(0)

    def prepare(self) -> None:
        if self.unavailable.is_set():
            raise StoreUnavailableError("unavailable")

    def insert(self, entries: Sequence[Entry]) -> int:
        try:
            if self.unavailable.is_set():
                raise StoreUnavailableError("unavailable")
            entries = [request for one in entries for request in copy_format.split_by_request(one)]
            if self.rejected.intersection(map(request_id, entries)):
                raise StoreRefusedError("rejected")
            new = [one for one in entries if request_id(one) not in self.stored]
            self.stored.update(map(request_id, new))
            self.batches.append(new)
            if self.replies_to_lose:
                self.replies_to_lose -= 1
                raise StoreUnavailableError("the connection ended before the reply")
            return sum(one.rows for one in new)
        finally:
            self.inserts.release()

    def ids(self) -> list[str]:
        return [request_id(one) for batch in self.batches for one in batch]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(graphs.artifact(b"").manifest, FEATURES)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


StartRecorder = Callable[..., BatchRecorder]


@pytest.fixture(params=["memory", "spool"])
def start_recorder(request: pytest.FixtureRequest, store: FakeStore, metrics: Metrics, tmp_path: Path) -> StartRecorder:
    """Starts the recorder with either kind of backlog."""
    recorders: list[BatchRecorder] = []

    def start(batch: int = 10) -> BatchRecorder:
        backlog: Backlog = MemoryBacklog(1_000)
        if request.param == "spool":
            backlog = Spool(tmp_path / "spool", 1024 * 1024, sync=False)
        recorders.append(BatchRecorder(store, backlog, metrics, batch))
        return recorders[-1]

    return start


def submit(recorder: BatchRecorder, *request_ids: str, rows: int = 1) -> None:
    async def submit_all() -> None:
        for one in request_ids:
            for refusal in await recorder.submit([entry(one, rows)]):
                if refusal:
                    raise refusal

    asyncio.run(submit_all())


def submit_together(recorder: BatchRecorder, request_ids: Sequence[str], rows: int = 1) -> Sequence[Refusal]:
    return asyncio.run(recorder.submit([entry(one, rows) for one in request_ids]))


def record_count(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value(metric_names.RECORDS, {"result": result}) or 0.0


NAMES = [str(number) for number in range(30)]


def test_records_are_written_in_order_and_counted(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics
) -> None:
    recorder = start_recorder()
    submit(recorder, *NAMES)
    recorder.close(5)
    assert store.ids() == NAMES
    assert record_count(metrics, "recorded") == 30


def test_many_requests_share_a_statement(start_recorder: StartRecorder, store: FakeStore) -> None:
    recorder = start_recorder(batch=100)
    names = [str(number) for number in range(200)]
    submit(recorder, *names)
    recorder.close(5)
    assert store.ids() == names
    assert len(store.batches) < 20
    assert max(map(len, store.batches)) <= 100


def test_waiting_records_are_written_when_the_database_is_back(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics
) -> None:
    store.unavailable.set()
    recorder = start_recorder()
    submit(recorder, "a", rows=3)
    assert store.inserts.acquire(timeout=5)
    store.unavailable.clear()
    recorder.close(5)
    assert store.ids() == ["a"]
    assert record_count(metrics, "retried") >= 3
    assert record_count(metrics, "recorded") == 3


def test_no_record_is_given_up_after_a_quarter_of_an_hour_of_retries(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    backoffs = []

    def skip_backoff(recorder: BatchRecorder) -> None:
        backoffs.append(recorder)
        # More than 15 minutes of backoffs of 5 s each.
        if len(backoffs) == 200:
            store.unavailable.clear()

    monkeypatch.setattr(BatchRecorder, "_back_off", skip_backoff)
    store.unavailable.set()
    recorder = start_recorder()
    submit(recorder, *NAMES)
    for _ in range(201):
        assert store.inserts.acquire(timeout=5)
    recorder.close(5)
    assert store.ids() == NAMES
    assert (record_count(metrics, "recorded"), record_count(metrics, "dropped")) == (30, 0)


def test_a_statement_whose_reply_was_lost_is_retried_and_nothing_counts_twice(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics
) -> None:
    store.replies_to_lose = 1
    recorder = start_recorder()
    submit(recorder, "a", "b")
    recorder.close(5)
    assert store.ids() == ["a", "b"]
    assert (record_count(metrics, "recorded"), record_count(metrics, "duplicate")) == (2, 0)


def test_only_rejected_records_are_dropped_and_the_others_are_written(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics
) -> None:
    store.rejected = {"7", "20"}
    recorder = start_recorder(batch=100)
    submit(recorder, *NAMES)
    recorder.close(5)
    assert store.ids() == [name for name in NAMES if name not in store.rejected]
    assert (record_count(metrics, "dropped"), record_count(metrics, "recorded")) == (2, 28)


def test_only_the_rejected_request_of_a_merged_entry_is_dropped(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics
) -> None:
    """Seen to fail when the whole entry was dropped."""
    store.rejected = {"7"}
    recorder = start_recorder(batch=100)
    submit_together(recorder, NAMES[:10], rows=2)
    submit(recorder, *NAMES[10:])
    recorder.close(5)
    assert store.ids() == [*NAMES[:7], *NAMES[8:]]
    assert (record_count(metrics, "dropped"), record_count(metrics, "recorded")) == (2, 18 + 20)
    assert record_count(metrics, "duplicate") == 0


def test_requests_that_are_too_large_together_are_accepted_one_by_one(
    store: FakeStore, metrics: Metrics, tmp_path: Path
) -> None:
    store.unavailable.set()
    recorder = BatchRecorder(store, Spool(tmp_path, 3_000, sync=False), metrics, batch=2)
    refusals = submit_together(recorder, NAMES)
    accepted = [name for name, refusal in zip(NAMES, refusals, strict=True) if refusal is None]
    assert 0 < len(accepted) < len(NAMES)
    assert accepted == NAMES[: len(accepted)]
    assert record_count(metrics, "rejected") == len(NAMES) - len(accepted)
    store.unavailable.clear()
    recorder.close(5)
    assert store.ids() == accepted


def test_a_database_failure_during_the_bisection_loses_nothing(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics
) -> None:
    store.rejected = {"7"}
    store.replies_to_lose = 2
    recorder = start_recorder(batch=100)
    submit(recorder, *NAMES)
    recorder.close(10)
    assert store.ids() == [name for name in NAMES if name != "7"]
    assert record_count(metrics, "dropped") == 1


def test_a_reused_request_id_is_counted_as_a_duplicate(
    start_recorder: StartRecorder, store: FakeStore, metrics: Metrics
) -> None:
    recorder = start_recorder(batch=1)
    submit(recorder, "same", "same")
    recorder.close(5)
    assert store.ids() == ["same"]
    assert (record_count(metrics, "recorded"), record_count(metrics, "duplicate")) == (1, 1)


def test_the_backlog_is_in_the_metrics(start_recorder: StartRecorder, store: FakeStore, metrics: Metrics) -> None:
    store.unavailable.set()
    recorder = start_recorder()
    submit(recorder, "a", "b", rows=3)
    read = metrics.registry.get_sample_value
    assert read(metric_names.BACKLOG_RECORDS) == 6
    assert (read(metric_names.BACKLOG_BYTES) or 0) > 100
    assert 0 < (read(metric_names.BACKLOG_FILL_RATIO) or 0) < 1
    assert (read(metric_names.BACKLOG_OLDEST_SECONDS) or 0) > 1_000_000
    store.unavailable.clear()
    recorder.close(5)
    names = (
        metric_names.BACKLOG_RECORDS,
        metric_names.BACKLOG_BYTES,
        metric_names.BACKLOG_FILL_RATIO,
        metric_names.BACKLOG_OLDEST_SECONDS,
    )
    assert [read(name) for name in names] == [0, 0, 0, 0]


def test_without_a_spool_records_that_do_not_fit_are_dropped_and_counted(store: FakeStore, metrics: Metrics) -> None:
    store.unavailable.set()
    recorder = BatchRecorder(store, MemoryBacklog(10), metrics, batch=1)
    submit(recorder, "eleven", rows=11)
    submit(recorder, *NAMES)
    assert record_count(metrics, "dropped") == 11 + 20
    store.unavailable.clear()
    recorder.close(5)
    assert store.ids() == NAMES[:10]


def test_without_a_spool_closing_while_the_database_is_unavailable_ends_in_time_and_counts_the_loss(
    store: FakeStore, metrics: Metrics
) -> None:
    store.unavailable.set()
    recorder = BatchRecorder(store, MemoryBacklog(100), metrics, batch=2)
    submit(recorder, "a", rows=6)
    recorder.close(0.2)
    assert record_count(metrics, "dropped") == 6


def test_with_a_full_spool_the_record_is_rejected_and_counted(
    store: FakeStore, metrics: Metrics, tmp_path: Path
) -> None:
    store.unavailable.set()
    recorder = BatchRecorder(store, Spool(tmp_path, 1_000, sync=False), metrics, batch=2)
    submit(recorder, "fits")
    with pytest.raises(RecordNotKeptError) as refusal:
        submit(recorder, "does-not", rows=50)
    problem = record_not_kept(refusal.value)
    assert problem.status == 503
    assert problem.headers == {"Retry-After": "5"}
    assert (record_count(metrics, "rejected"), record_count(metrics, "dropped")) == (50, 0)
    store.unavailable.clear()
    recorder.close(5)
    assert store.ids() == ["fits"]


def test_with_a_spool_the_next_process_writes_the_remaining_records(
    store: FakeStore, metrics: Metrics, tmp_path: Path
) -> None:
    store.unavailable.set()
    recorder = BatchRecorder(store, Spool(tmp_path, 1024 * 1024, sync=False), metrics, batch=2)
    submit(recorder, *NAMES)
    recorder.close(0.2)
    assert record_count(metrics, "dropped") == 0
    store.unavailable.clear()
    BatchRecorder(store, Spool(tmp_path, 1024 * 1024, sync=False), metrics, batch=100).close(5)
    assert store.ids() == NAMES


def test_a_record_after_closing_is_counted_as_rejected_or_dropped(
    start_recorder: StartRecorder, metrics: Metrics
) -> None:
    recorder = start_recorder()
    recorder.close(1)
    try:
        submit(recorder, "late")
    except RecordNotKeptError:
        assert record_count(metrics, "rejected") == 1
    else:
        assert record_count(metrics, "dropped") == 1
