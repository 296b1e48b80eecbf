"""Faults 36 and 38: every acknowledged prediction is recorded exactly once, whatever dies meanwhile.

Each says on which broken build it was seen to fail.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from contract.inference.api import FLOWER, Api, assert_problem
from contract.inference.models import Exported
from integration.harness.postgres import Postgres
from integration.harness.process import ServerError, accepts
from integration.inference.database import recorded, select, times_recorded
from integration.inference.load import Load, load
from integration.inference.lost_answer import LostAnswer
from integration.inference.process import Service, StartService
from integration.inference.waiting import eventually


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def start(exported: Exported, start_service: StartService, spool: Path) -> Callable[[str], Service]:
    """Starts the service with the database at an address."""

    def started(url: str) -> Service:
        # So small a buffer in memory that no test passes because of it.
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


def written(service: Api) -> None:
    """Returns once nothing waits any more."""
    eventually(lambda: service.metric("prediction_backlog_records") == 0, seconds=60)


def writing_began(service: Api) -> None:
    """Returns once records are in the database: before the first of them it may still be making the tables."""
    eventually(lambda: service.metric("prediction_records_total", result="recorded") > 0, seconds=60)


def writing(engine: Engine) -> int:
    """The process of the database that writes the service's records."""
    (writer,) = select(
        engine,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'iris-inference' AND datname = current_database()",
    )
    return int(writer.pid)


def stopped_while_writing(engine: Engine) -> int:
    """The same process, stopped in the middle of a statement, which is never answered.

    While it waits for a lock: elsewhere it may hold something of the database's own that the test would wait for.
    """
    writer = writing(engine)
    waits = "SELECT pid FROM pg_stat_activity WHERE pid = :pid AND wait_event_type = 'Lock'"
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE"))
        eventually(lambda: bool(select(engine, waits, pid=writer)))
        os.kill(writer, signal.SIGSTOP)
    return writer


def assert_exactly_once(engine: Engine, *loads: Load) -> None:
    times = times_recorded(engine)
    acknowledged = [name for one in loads for name in one.acknowledged]
    assert acknowledged
    assert [name for name in acknowledged if times[name] != 1] == []
    # Those whose answer was lost may be there, but not twice either; those that were refused may not.
    assert max(times.values()) == 1
    assert [name for one in loads for name in one.refused if times[name]] == []


def spooled(spool: Path) -> list[Path]:
    return sorted(spool.glob("*.spool"))


def test_what_is_acknowledged_while_the_database_is_down_is_recorded_once_when_it_is_back(
    service: Service, postgres_server: Postgres, engine: Engine
) -> None:
    """Seen to fail with records in memory instead of in the spool; records forgotten before they are inserted."""
    with load(service) as made:
        made.more(50)
        postgres_server.server.kill()
        try:
            made.more(300)
            assert service.metric("prediction_backlog_records") >= 300
            assert service.metric("prediction_backlog_oldest_seconds") > 0
        finally:
            postgres_server.server.start()
        made.more(50)
    assert (made.refused, made.lost) == ({}, [])
    written(service)
    assert_exactly_once(engine, made)
    assert service.metric("prediction_records_total", result="recorded") == recorded(engine)
    assert service.metric("prediction_backlog_bytes") == 0


def test_a_statement_whose_answer_never_comes_is_written_once(service: Service, engine: Engine) -> None:
    """Seen to fail with records forgotten before they are inserted."""
    with load(service) as made:
        writing_began(service)
        writer = stopped_while_writing(engine)
        eventually(lambda: service.metric("prediction_backlog_records") > 50)
        os.kill(writer, signal.SIGKILL)
        eventually(lambda: service.metric("prediction_records_total", result="retried") > 0)
        made.more(50)
    assert (made.refused, made.lost) == ({}, [])
    written(service)
    assert_exactly_once(engine, made)


def test_a_statement_that_was_done_and_whose_answer_is_lost_is_written_once(
    start: Callable[[str], Service], postgres_url: str, engine: Engine
) -> None:
    """Seen to fail with a table without a key."""
    with LostAnswer(postgres_url) as way:
        service = start(way.url)
        with load(service) as made:
            writing_began(service)
            way.lose_one()
            assert way.lost.wait(60)
            eventually(lambda: service.metric("prediction_records_total", result="retried") > 0)
            made.more(50)
        assert (made.refused, made.lost) == ({}, [])
        written(service)
        assert service.metric("prediction_records_total", result="recorded") == recorded(engine)
    assert_exactly_once(engine, made)


def test_a_full_spool_is_an_explicit_503_and_what_was_acknowledged_stays(
    service: Service, postgres_server: Postgres, engine: Engine, spool: Path
) -> None:
    """Seen to fail with a full spool that answers 200; a spool without a bound; records in memory."""
    postgres_server.server.kill()
    try:
        with load(service, rows=200) as made:
            eventually(lambda: len(made.refused) >= 20, seconds=60)
        problem = assert_problem(service.predict(*[FLOWER] * 200), 503)
        assert problem["type"] == "urn:iris-inference:record-not-kept"
        assert sum(path.stat().st_size for path in spooled(spool)) <= 1024 * 1024
    finally:
        postgres_server.server.start()
    assert set(made.refused.values()) == {503}
    assert service.metric("prediction_records_total", result="rejected") == 200 * (len(made.refused) + 1)
    assert service.metric("prediction_records_total", result="dropped") == 0
    written(service)
    with load(service, "after") as after:
        after.more(20)
    written(service)
    assert after.refused == {}
    assert_exactly_once(engine, made, after)
    assert recorded(engine) == 200 * len(made.acknowledged) + len(after.acknowledged)


def test_what_was_acknowledged_before_sigkill_is_recorded_by_the_next_process(
    service: Service, postgres_server: Postgres, engine: Engine
) -> None:
    """Seen to fail with records in memory or written behind the answer; files removed at the start."""
    postgres_server.server.kill()
    try:
        with load(service) as made:
            made.more(100)
            service.process.kill()
            eventually(lambda: len(made.lost) > 0)
    finally:
        postgres_server.server.start()
    assert made.refused == {}
    service.process.start()
    written(service)
    assert_exactly_once(engine, made)


def test_kills_while_the_database_writes_lose_and_repeat_nothing(service: Service, engine: Engine) -> None:
    """Seen to fail with records written behind the answer or forgotten too early; files removed at the start."""
    loads = []
    for life in range(4):
        with load(service, f"life-{life}") as made:
            made.more(60)
            service.process.kill()
            eventually(lambda made=made: len(made.lost) > 0)  # type: ignore[misc]  # mypy cannot infer a bound lambda
        loads.append(made)
        service.process.start()
    written(service)
    assert_exactly_once(engine, *loads)


def test_a_record_that_was_being_written_at_sigkill_is_cut_off(
    service: Service, postgres_server: Postgres, engine: Engine, spool: Path
) -> None:
    """Seen to fail with a start that takes an unfinished record for a whole one."""
    postgres_server.server.kill()
    try:
        with load(service) as made:
            made.more(20)
        service.process.kill()
    finally:
        postgres_server.server.start()
    whole = spooled(spool)[-1].read_bytes()
    spooled(spool)[-1].write_bytes(whole + whole[:100])
    service.process.start()
    written(service)
    assert_exactly_once(engine, made)
    assert "cut an unfinished record off the spool" in [line["message"] for line in service.log()]


def test_sigterm_in_flight_writes_all_that_was_acknowledged_and_leaves_nothing_behind(
    service: Service, engine: Engine, spool: Path
) -> None:
    """Seen to fail with an end that does not wait for the recorder."""
    with load(service) as made:
        made.more(50)
        writer = writing(engine)
        os.kill(writer, signal.SIGSTOP)
        try:
            made.more(100)
            os.kill(service.process.pid, signal.SIGTERM)
            # The last answers are out and their records wait; it does not end without them.
            with pytest.raises(subprocess.TimeoutExpired):
                service.process.wait(2)
            assert not accepts(service.port)
        finally:
            os.kill(writer, signal.SIGCONT)
        assert service.process.wait(20) == 0
    assert made.refused == {}
    assert_exactly_once(engine, made)
    assert spooled(spool) == []


def test_sigterm_while_the_database_is_down_ends_in_time_and_the_next_process_goes_on(
    service: Service, postgres_server: Postgres, engine: Engine
) -> None:
    """Seen to fail with an earlier process's files removed at the start."""
    postgres_server.server.kill()
    try:
        with load(service) as made:
            made.more(50)
            os.kill(service.process.pid, signal.SIGTERM)
            assert service.process.wait(20) == 0
    finally:
        postgres_server.server.start()
    (left,) = [line for line in service.log() if line["message"].endswith("are left in the spool")]
    assert left["records"] >= 50
    service.process.start()
    written(service)
    assert_exactly_once(engine, made)


def test_a_service_that_waits_for_the_disk_answers_and_records(
    exported: Exported, start_service: StartService, postgres_url: str, spool: Path, engine: Engine
) -> None:
    service = start_service(
        exported("1.0.0"), DATABASE_URL=postgres_url, IRIS_SPOOL_DIR=str(spool), IRIS_SPOOL_SYNC="true"
    )
    with load(service) as made:
        made.more(100)
    written(service)
    assert_exactly_once(engine, made)


def test_a_spool_that_cannot_be_used_stops_the_start_with_its_name(
    exported: Exported, start_service: StartService, postgres_url: str, spool: Path
) -> None:
    spool.write_text("in the way")
    with pytest.raises(ServerError, match="exited with 2") as refusal:
        start_service(exported("1.0.0"), DATABASE_URL=postgres_url, IRIS_SPOOL_DIR=str(spool))
    assert "IRIS_SPOOL_DIR" in str(refusal.value)
