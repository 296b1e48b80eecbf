"""Faults 36 and 38: every acknowledged prediction is recorded exactly once, whatever process dies meanwhile.

Each test names the broken builds on which it was seen to fail.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from iris_inference import metric_names
from support.inference.api import FLOWER, Api, assert_problem
from support.inference.database import count_by_request, count_recorded, select
from support.inference.load import Load, load
from support.inference.lost_answer import LostCommitProxy
from support.inference.models import Exported
from support.inference.process import Service, StartService
from support.servers.postgres import Postgres
from support.servers.process import ServerError, accepts
from support.waiting import eventually


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def start(exported: Exported, start_service: StartService, spool: Path) -> Callable[[str], Service]:
    """Starts the service with a database URL."""

    def started(url: str) -> Service:
        # A minimal buffer in memory, so that no test passes because of it.
        return start_service(
            exported("1.0.0"),
            DATABASE_URL=url,
            IRIS_SPOOL_DIR=str(spool),
            IRIS_SPOOL_MAX_BYTES=str(1024 * 1024),
            IRIS_RECORD_BUFFER="1",
            IRIS_RECORD_BATCH="100",
        )

    return started


@pytest.fixture
def service(start: Callable[[str], Service], postgres_url: str) -> Service:
    return start(postgres_url)


def await_empty_backlog(service: Api) -> None:
    """Wait until the backlog is empty."""
    eventually(lambda: service.metric(metric_names.BACKLOG_RECORDS) == 0, seconds=60)


def await_first_record(service: Api) -> None:
    """Wait until records are in the database: before the first one the tables may still be created."""
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") > 0, seconds=60)


def writer_pid(engine: Engine) -> int:
    """The id of the database process that writes the service's records."""
    (writer,) = select(
        engine,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'iris-inference' AND datname = current_database()",
    )
    return int(writer.pid)


def stop_writer(engine: Engine) -> int:
    """Stop that process in the middle of a statement, which gets no reply.

    While it waits for a lock: elsewhere it may hold something of the database's own that the test would wait for.
    """
    writer = writer_pid(engine)
    waits = "SELECT pid FROM pg_stat_activity WHERE pid = :pid AND wait_event_type = 'Lock'"
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE"))
        eventually(lambda: bool(select(engine, waits, pid=writer)))
        os.kill(writer, signal.SIGSTOP)
    return writer


def assert_exactly_once(engine: Engine, *loads: Load) -> None:
    times = count_by_request(engine)
    acknowledged = [name for one in loads for name in one.acknowledged]
    assert acknowledged
    assert [name for name in acknowledged if times[name] != 1] == []
    # Requests without a response may be recorded, but not twice; rejected ones may not.
    assert max(times.values()) == 1
    assert [name for one in loads for name in one.rejected if times[name]] == []


def spool_files(spool: Path) -> list[Path]:
    return sorted(spool.glob("*.spool"))


def test_predictions_acknowledged_while_the_database_is_down_are_recorded_once_when_it_is_back(
    service: Service, postgres_server: Postgres, engine: Engine
) -> None:
    """Seen to fail with records in memory instead of in the spool; records removed before they are inserted."""
    with load(service) as traffic:
        traffic.await_acknowledged(50)
        postgres_server.server.kill()
        try:
            traffic.await_acknowledged(300)
            assert service.metric(metric_names.BACKLOG_RECORDS) >= 300
            assert service.metric(metric_names.BACKLOG_OLDEST_SECONDS) > 0
        finally:
            postgres_server.server.start()
        traffic.await_acknowledged(50)
    assert (traffic.rejected, traffic.lost) == ({}, [])
    await_empty_backlog(service)
    assert_exactly_once(engine, traffic)
    assert service.metric(metric_names.RECORDS, result="recorded") == count_recorded(engine)
    assert service.metric(metric_names.BACKLOG_BYTES) == 0


def test_a_statement_without_a_reply_is_written_once(service: Service, engine: Engine) -> None:
    """Seen to fail with records removed before they are inserted."""
    with load(service) as traffic:
        await_first_record(service)
        writer = stop_writer(engine)
        eventually(lambda: service.metric(metric_names.BACKLOG_RECORDS) > 50)
        os.kill(writer, signal.SIGKILL)
        eventually(lambda: service.metric(metric_names.RECORDS, result="retried") > 0)
        traffic.await_acknowledged(50)
    assert (traffic.rejected, traffic.lost) == ({}, [])
    await_empty_backlog(service)
    assert_exactly_once(engine, traffic)


def test_an_executed_statement_whose_reply_is_lost_is_written_once(
    start: Callable[[str], Service], postgres_url: str, engine: Engine
) -> None:
    """Seen to fail with a table without a key."""
    with LostCommitProxy(postgres_url) as proxy:
        service = start(proxy.url)
        with load(service) as traffic:
            await_first_record(service)
            proxy.lose_next_commit()
            assert proxy.lost.wait(60)
            eventually(lambda: service.metric(metric_names.RECORDS, result="retried") > 0)
            traffic.await_acknowledged(50)
        assert (traffic.rejected, traffic.lost) == ({}, [])
        await_empty_backlog(service)
        assert service.metric(metric_names.RECORDS, result="recorded") == count_recorded(engine)
    assert_exactly_once(engine, traffic)


def test_a_full_spool_is_a_503_and_acknowledged_predictions_stay(
    service: Service, postgres_server: Postgres, engine: Engine, spool: Path
) -> None:
    """Seen to fail with a full spool that answers 200; a spool without a bound; records in memory."""
    postgres_server.server.kill()
    try:
        with load(service, rows=200) as traffic:
            eventually(lambda: len(traffic.rejected) >= 20, seconds=60)
        problem = assert_problem(service.predict(*[FLOWER] * 200), 503)
        assert problem["type"] == "urn:iris-inference:record-not-kept"
        assert sum(path.stat().st_size for path in spool_files(spool)) <= 1024 * 1024
    finally:
        postgres_server.server.start()
    assert set(traffic.rejected.values()) == {503}
    assert service.metric(metric_names.RECORDS, result="rejected") == 200 * (len(traffic.rejected) + 1)
    assert service.metric(metric_names.RECORDS, result="dropped") == 0
    await_empty_backlog(service)
    with load(service, "after") as after:
        after.await_acknowledged(20)
    await_empty_backlog(service)
    assert after.rejected == {}
    assert_exactly_once(engine, traffic, after)
    assert count_recorded(engine) == 200 * len(traffic.acknowledged) + len(after.acknowledged)


def test_predictions_acknowledged_before_sigkill_are_recorded_by_the_next_process(
    service: Service, postgres_server: Postgres, engine: Engine
) -> None:
    """Seen to fail with records in memory or written after the response; files removed at the start."""
    postgres_server.server.kill()
    try:
        with load(service) as traffic:
            traffic.await_acknowledged(100)
            service.process.kill()
            eventually(lambda: len(traffic.lost) > 0)
    finally:
        postgres_server.server.start()
    assert traffic.rejected == {}
    service.process.start()
    await_empty_backlog(service)
    assert_exactly_once(engine, traffic)


def test_kills_while_the_database_writes_lose_and_repeat_nothing(service: Service, engine: Engine) -> None:
    """Seen to fail with records written after the response or removed too early; files removed at the start."""
    loads = []
    for life in range(4):
        with load(service, f"life-{life}") as traffic:
            traffic.await_acknowledged(60)
            service.process.kill()
            eventually(lambda traffic=traffic: len(traffic.lost) > 0)  # type: ignore[misc]  # mypy cannot infer a bound lambda
        loads.append(traffic)
        service.process.start()
    await_empty_backlog(service)
    assert_exactly_once(engine, *loads)


def test_a_record_unfinished_at_sigkill_is_removed(
    service: Service, postgres_server: Postgres, engine: Engine, spool: Path
) -> None:
    """Seen to fail with a start that takes an unfinished record for a complete one."""
    postgres_server.server.kill()
    try:
        with load(service) as traffic:
            traffic.await_acknowledged(20)
        service.process.kill()
    finally:
        postgres_server.server.start()
    content = spool_files(spool)[-1].read_bytes()
    spool_files(spool)[-1].write_bytes(content + content[:100])
    service.process.start()
    await_empty_backlog(service)
    assert_exactly_once(engine, traffic)
    assert "removed an unfinished record from the spool" in [line["message"] for line in service.log()]


def test_sigterm_under_load_writes_all_acknowledged_predictions_and_leaves_no_files(
    service: Service, engine: Engine, spool: Path
) -> None:
    """Seen to fail with a shutdown that does not wait for the recorder."""
    with load(service) as traffic:
        traffic.await_acknowledged(50)
        writer = writer_pid(engine)
        os.kill(writer, signal.SIGSTOP)
        try:
            traffic.await_acknowledged(100)
            os.kill(service.process.pid, signal.SIGTERM)
            # All responses are sent and their records wait: the process must not end before they are written.
            with pytest.raises(subprocess.TimeoutExpired):
                service.process.wait(2)
            assert not accepts(service.port)
        finally:
            os.kill(writer, signal.SIGCONT)
        assert service.process.wait(20) == 0
    assert traffic.rejected == {}
    assert_exactly_once(engine, traffic)
    assert spool_files(spool) == []


def test_sigterm_while_the_database_is_down_ends_in_time_and_the_next_process_continues(
    service: Service, postgres_server: Postgres, engine: Engine
) -> None:
    """Seen to fail with an earlier process's files removed at the start."""
    # A connection that is only being opened when the database dies makes PostgreSQL's library write to the log itself.
    assert service.predict(FLOWER).status_code == 200
    await_first_record(service)
    postgres_server.server.kill()
    try:
        with load(service) as traffic:
            traffic.await_acknowledged(50)
            os.kill(service.process.pid, signal.SIGTERM)
            assert service.process.wait(20) == 0
    finally:
        postgres_server.server.start()
    (left,) = [line for line in service.log() if line["message"].endswith("are left in the spool")]
    assert left["records"] >= 50
    service.process.start()
    await_empty_backlog(service)
    assert_exactly_once(engine, traffic)


def test_a_service_with_fsync_answers_and_records(
    exported: Exported, start_service: StartService, postgres_url: str, spool: Path, engine: Engine
) -> None:
    service = start_service(
        exported("1.0.0"), DATABASE_URL=postgres_url, IRIS_SPOOL_DIR=str(spool), IRIS_SPOOL_SYNC="true"
    )
    with load(service) as traffic:
        traffic.await_acknowledged(100)
    await_empty_backlog(service)
    assert_exactly_once(engine, traffic)


def test_a_spool_that_cannot_be_used_stops_the_start_with_its_name(
    exported: Exported, start_service: StartService, postgres_url: str, spool: Path
) -> None:
    spool.write_text("in the way")
    with pytest.raises(ServerError, match="exited with 2") as refusal:
        start_service(exported("1.0.0"), DATABASE_URL=postgres_url, IRIS_SPOOL_DIR=str(spool))
    assert "IRIS_SPOOL_DIR" in str(refusal.value)
