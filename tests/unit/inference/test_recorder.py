import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from iris_inference import copyrows
from iris_inference.memory import MemoryBacklog
from iris_inference.problems import ProblemError
from iris_inference.recorder import BatchRecorder
from iris_inference.records import Backlog, Entry, Refusal, StoreRefusedError, StoreUnavailableError
from iris_inference.schemas import FEATURES
from iris_inference.spool import Spool
from iris_inference.telemetry import Metrics
from unit.inference import graphs
from unit.inference.entries import entry, request_id


class Store:
    """Takes records while it is open; can be away, refuse some, lose answers, and be waited for."""

    def __init__(self) -> None:
        self.batches: list[list[Entry]] = []
        self.known: set[str] = set()
        self.away = threading.Event()
        self.answers_lost = 0
        self.refused: set[str] = set()
        self.asked = threading.Semaphore(0)

    def prepare(self) -> None:
        if self.away.is_set():
            raise StoreUnavailableError("away")

    def insert(self, entries: Sequence[Entry]) -> int:
        try:
            if self.away.is_set():
                raise StoreUnavailableError("away")
            entries = [request for one in entries for request in copyrows.split(one)]
            if self.refused.intersection(map(request_id, entries)):
                raise StoreRefusedError("never")
            new = [one for one in entries if request_id(one) not in self.known]
            self.known.update(map(request_id, new))
            self.batches.append(new)
            if self.answers_lost:
                self.answers_lost -= 1
                raise StoreUnavailableError("the connection ended before the answer")
            return sum(one.rows for one in new)
        finally:
            self.asked.release()

    def ids(self) -> list[str]:
        return [request_id(one) for batch in self.batches for one in batch]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(graphs.artifact(b"").manifest, FEATURES)


@pytest.fixture
def store() -> Store:
    return Store()


Record = Callable[..., BatchRecorder]


@pytest.fixture(params=["memory", "spool"])
def recording(request: pytest.FixtureRequest, store: Store, metrics: Metrics, tmp_path: Path) -> Record:
    """Starts the test's recorder, on either kind of backlog."""
    recorders: list[BatchRecorder] = []

    def start(batch: int = 10) -> BatchRecorder:
        backlog: Backlog = MemoryBacklog(1_000)
        if request.param == "spool":
            backlog = Spool(tmp_path / "spool", 1024 * 1024, sync=False)
        recorders.append(BatchRecorder(store, backlog, metrics, batch))
        return recorders[-1]

    return start


def submit(recorder: BatchRecorder, *request_ids: str, rows: int = 1) -> None:
    async def all_of_them() -> None:
        for one in request_ids:
            for refusal in await recorder.submit([entry(one, rows)]):
                if refusal:
                    raise refusal

    asyncio.run(all_of_them())


def submit_together(recorder: BatchRecorder, request_ids: Sequence[str], rows: int = 1) -> Sequence[Refusal]:
    return asyncio.run(recorder.submit([entry(one, rows) for one in request_ids]))


def counted(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("prediction_records_total", {"result": result}) or 0.0


NAMES = [str(number) for number in range(30)]


def test_records_are_written_in_order_and_counted(recording: Record, store: Store, metrics: Metrics) -> None:
    recorder = recording()
    submit(recorder, *NAMES)
    recorder.close(5)
    assert store.ids() == NAMES
    assert counted(metrics, "recorded") == 30


def test_many_requests_share_a_statement(recording: Record, store: Store) -> None:
    recorder = recording(batch=100)
    names = [str(number) for number in range(200)]
    submit(recorder, *names)
    recorder.close(5)
    assert store.ids() == names
    assert len(store.batches) < 20
    assert max(map(len, store.batches)) <= 100


def test_what_waited_for_the_database_is_written_once_it_is_back(
    recording: Record, store: Store, metrics: Metrics
) -> None:
    store.away.set()
    recorder = recording()
    submit(recorder, "a", rows=3)
    assert store.asked.acquire(timeout=5)
    store.away.clear()
    recorder.close(5)
    assert store.ids() == ["a"]
    assert counted(metrics, "retried") >= 3
    assert counted(metrics, "recorded") == 3


def test_a_quarter_of_an_hour_of_tries_gives_nothing_up(
    recording: Record, store: Store, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def passes_at_once(recorder: BatchRecorder) -> None:
        pauses.append(recorder)
        # The pauses would add up to more than 15 minutes at 5 s each.
        if len(pauses) == 200:
            store.away.clear()

    monkeypatch.setattr(BatchRecorder, "_rest", passes_at_once)
    store.away.set()
    recorder = recording()
    submit(recorder, *NAMES)
    for _ in range(201):
        assert store.asked.acquire(timeout=5)
    recorder.close(5)
    assert store.ids() == NAMES
    assert (counted(metrics, "recorded"), counted(metrics, "dropped")) == (30, 0)


def test_a_lost_answer_is_asked_for_again_and_nothing_counts_twice(
    recording: Record, store: Store, metrics: Metrics
) -> None:
    store.answers_lost = 1
    recorder = recording()
    submit(recorder, "a", "b")
    recorder.close(5)
    assert store.ids() == ["a", "b"]
    assert (counted(metrics, "recorded"), counted(metrics, "duplicate")) == (2, 0)


def test_only_what_is_refused_is_dropped_and_its_neighbours_are_written(
    recording: Record, store: Store, metrics: Metrics
) -> None:
    store.refused = {"7", "20"}
    recorder = recording(batch=100)
    submit(recorder, *NAMES)
    recorder.close(5)
    assert store.ids() == [name for name in NAMES if name not in store.refused]
    assert (counted(metrics, "dropped"), counted(metrics, "recorded")) == (2, 28)


def test_of_requests_that_were_answered_together_only_the_refused_one_is_dropped(
    recording: Record, store: Store, metrics: Metrics
) -> None:
    """Seen to fail with the whole of such an entry dropped."""
    store.refused = {"7"}
    recorder = recording(batch=100)
    submit_together(recorder, NAMES[:10], rows=2)
    submit(recorder, *NAMES[10:])
    recorder.close(5)
    assert store.ids() == [*NAMES[:7], *NAMES[8:]]
    assert (counted(metrics, "dropped"), counted(metrics, "recorded")) == (2, 18 + 20)
    assert counted(metrics, "duplicate") == 0


def test_requests_that_together_are_too_much_are_taken_one_by_one_while_there_is_room(
    store: Store, metrics: Metrics, tmp_path: Path
) -> None:
    store.away.set()
    recorder = BatchRecorder(store, Spool(tmp_path, 3_000, sync=False), metrics, batch=2)
    refusals = submit_together(recorder, NAMES)
    taken = [name for name, refusal in zip(NAMES, refusals, strict=True) if refusal is None]
    assert 0 < len(taken) < len(NAMES)
    assert taken == NAMES[: len(taken)]
    assert counted(metrics, "rejected") == len(NAMES) - len(taken)
    store.away.clear()
    recorder.close(5)
    assert store.ids() == taken


def test_a_database_that_goes_while_the_refused_one_is_looked_for_loses_nothing(
    recording: Record, store: Store, metrics: Metrics
) -> None:
    store.refused = {"7"}
    store.answers_lost = 2
    recorder = recording(batch=100)
    submit(recorder, *NAMES)
    recorder.close(10)
    assert store.ids() == [name for name in NAMES if name != "7"]
    assert counted(metrics, "dropped") == 1


def test_a_request_id_that_was_used_before_is_counted_as_a_duplicate(
    recording: Record, store: Store, metrics: Metrics
) -> None:
    recorder = recording(batch=1)
    submit(recorder, "same", "same")
    recorder.close(5)
    assert store.ids() == ["same"]
    assert (counted(metrics, "recorded"), counted(metrics, "duplicate")) == (1, 1)


def test_what_waits_is_in_the_metrics(recording: Record, store: Store, metrics: Metrics) -> None:
    store.away.set()
    recorder = recording()
    submit(recorder, "a", "b", rows=3)
    read = metrics.registry.get_sample_value
    assert read("prediction_backlog_records") == 6
    assert (read("prediction_backlog_bytes") or 0) > 100
    assert 0 < (read("prediction_backlog_fill_ratio") or 0) < 1
    assert (read("prediction_backlog_oldest_seconds") or 0) > 1_000_000
    store.away.clear()
    recorder.close(5)
    names = tuple(f"prediction_backlog_{what}" for what in ("records", "bytes", "fill_ratio", "oldest_seconds"))
    assert [read(name) for name in names] == [0, 0, 0, 0]


def test_without_a_spool_what_does_not_fit_is_dropped_and_counted_and_the_answer_goes_out(
    store: Store, metrics: Metrics
) -> None:
    store.away.set()
    recorder = BatchRecorder(store, MemoryBacklog(10), metrics, batch=1)
    submit(recorder, "eleven", rows=11)
    submit(recorder, *NAMES)
    assert counted(metrics, "dropped") == 11 + 20
    store.away.clear()
    recorder.close(5)
    assert store.ids() == NAMES[:10]


def test_without_a_spool_the_end_while_the_database_is_away_comes_in_time_and_counts_the_loss(
    store: Store, metrics: Metrics
) -> None:
    store.away.set()
    recorder = BatchRecorder(store, MemoryBacklog(100), metrics, batch=2)
    submit(recorder, "a", rows=6)
    recorder.close(0.2)
    assert counted(metrics, "dropped") == 6


def test_with_a_full_spool_the_answer_is_a_503_and_counted(store: Store, metrics: Metrics, tmp_path: Path) -> None:
    store.away.set()
    recorder = BatchRecorder(store, Spool(tmp_path, 1_000, sync=False), metrics, batch=2)
    submit(recorder, "fits")
    with pytest.raises(ProblemError) as refusal:
        submit(recorder, "does-not", rows=50)
    assert refusal.value.status == 503
    assert refusal.value.headers == {"Retry-After": "5"}
    assert (counted(metrics, "rejected"), counted(metrics, "dropped")) == (50, 0)
    store.away.clear()
    recorder.close(5)
    assert store.ids() == ["fits"]


def test_with_a_spool_what_is_left_at_the_end_is_for_the_next_process(
    store: Store, metrics: Metrics, tmp_path: Path
) -> None:
    store.away.set()
    recorder = BatchRecorder(store, Spool(tmp_path, 1024 * 1024, sync=False), metrics, batch=2)
    submit(recorder, *NAMES)
    recorder.close(0.2)
    assert counted(metrics, "dropped") == 0
    store.away.clear()
    BatchRecorder(store, Spool(tmp_path, 1024 * 1024, sync=False), metrics, batch=100).close(5)
    assert store.ids() == NAMES


def test_what_comes_after_the_end_is_not_taken_in_silence(recording: Record, metrics: Metrics) -> None:
    recorder = recording()
    recorder.close(1)
    try:
        submit(recorder, "late")
    except ProblemError:
        assert counted(metrics, "rejected") == 1
    else:
        assert counted(metrics, "dropped") == 1
