import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from iris_inference import metric_names
from iris_inference.prediction.feedback import FeedbackState
from iris_inference.recording.record import StoreUnavailableError
from iris_inference.storage import migrate, partitions, schema
from iris_inference.storage.database import Database
from support.inference.api import FLOWER
from support.inference.database import count_recorded, select
from support.inference.entries import AT, entry
from support.inference.models import Exported
from support.inference.serving import Serve
from support.servers.postgres import Postgres
from support.waiting import eventually

_SOURCES = Path(__file__).parents[4] / "inference"
_UNREACHABLE = "postgresql://iris:hunter2@127.0.0.1:1/iris"


def partitions_of(engine: Engine, table: str) -> list[str]:
    with engine.connect() as connection:
        parent = inspect(connection)
        return sorted(name for name in parent.get_table_names() if name.startswith(f"{table}_"))


def today(engine: Engine) -> date:
    with engine.connect() as connection:
        return partitions.today(connection)


def test_an_empty_database_gets_the_tables_and_the_upcoming_partitions(postgres_url: str, engine: Engine) -> None:
    migrate.run(postgres_url, days_ahead=3)
    first = today(engine) - timedelta(days=1)
    expected = [first + timedelta(days=distance) for distance in range(5)]
    for table in ("predictions", "feedback"):
        assert partitions_of(engine, table) == [f"{table}_{day:%Y%m%d}" for day in expected]
    assert select(engine, "SELECT version_num FROM alembic_version") == [(schema.HEAD,)]


def test_running_it_again_changes_nothing(postgres_url: str, engine: Engine) -> None:
    migrate.run(postgres_url)
    before = partitions_of(engine, "predictions")
    migrate.run(postgres_url)
    assert partitions_of(engine, "predictions") == before


def test_concurrent_migrations_create_everything_once(postgres_url: str, engine: Engine) -> None:
    failures: list[Exception] = []

    def run() -> None:
        try:
            migrate.run(postgres_url)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(partitions_of(engine, "predictions")) == schema.DAYS_AHEAD + 2


def test_the_rows_of_earlier_releases_are_kept(postgres_url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        for table, columns in {
            "predictions": "predicted_at timestamptz, model_name text, model_version text, model_digest text, "
            "revision text, features double precision[], label text, probabilities double precision[]",
            "feedback": "label text, received_at timestamptz DEFAULT now()",
        }.items():
            connection.execute(
                text(f"CREATE TABLE {table} (request_id text, instance smallint, {columns}, "
                     f"CONSTRAINT {table}_pkey PRIMARY KEY (request_id, instance))")
            )  # fmt: skip
        connection.execute(
            text(
                "INSERT INTO predictions VALUES "
                "('old', 0, '2023-05-06 23:30-02', 'iris', '1.0.0', 'd', 'r', '{1,2}', 'setosa', '{1}')"
            )
        )
        connection.execute(text("INSERT INTO feedback VALUES ('old', 0, 'virginica')"))
    migrate.run(postgres_url)
    (row,) = select(engine, "SELECT * FROM labelled_predictions")
    assert (row.request_id, row.predicted_on, row.label, row.true_label) == (
        "old", date(2023, 5, 7), "setosa", "virginica",
    )  # fmt: skip
    assert partitions_of(engine, "predictions")[0] == "predictions_20230507"


def test_only_partitions_older_than_the_days_to_keep_are_dropped(postgres_url: str, engine: Engine) -> None:
    database = Database(postgres_url)
    now = datetime.combine(today(engine), datetime.min.time(), UTC)
    for age in (0, 1, 2, 3, 10):
        name = f"age-{age}"
        database.insert([entry(name, at=now - timedelta(days=age))])
        assert database.add_feedback(name, 0, "setosa").state is FeedbackState.ACCEPTED
    migrate.run(postgres_url, keep_days=3)
    rows = select(engine, "SELECT request_id FROM labelled_predictions ORDER BY 1")
    assert [row.request_id for row in rows] == ["age-0", "age-1", "age-2"]
    assert partitions_of(engine, "predictions")[0] == f"predictions_{now - timedelta(days=2):%Y%m%d}"
    assert partitions_of(engine, "feedback")[0] == f"feedback_{now - timedelta(days=2):%Y%m%d}"
    # A record older than the retention is still accepted, once the missing partition was detected.
    with pytest.raises(StoreUnavailableError, match="no partition"):
        database.insert([entry("late", at=now - timedelta(days=10))])
    assert database.insert([entry("late", at=now - timedelta(days=10))]) == 1
    database.close()


def test_a_missing_partition_is_created_by_its_first_record(postgres_url: str, engine: Engine) -> None:
    database = Database(postgres_url)
    assert database.insert([entry("a"), entry("b", rows=2)]) == 3
    assert f"predictions_{AT:%Y%m%d}" in partitions_of(engine, "predictions")
    assert select(engine, "SELECT DISTINCT predicted_on FROM predictions") == [(AT.date(),)]
    database.close()


def test_a_request_id_is_unique_per_day(postgres_url: str, engine: Engine) -> None:
    database = Database(postgres_url)
    same = [entry("same", at=AT), entry("same", at=AT + timedelta(hours=1))]
    assert database.insert(same) == 1
    assert database.insert(same) == 0
    assert database.insert([entry("same", at=AT + timedelta(days=1))]) == 1
    with engine.begin() as connection, pytest.raises(IntegrityError, match="predicted_on_is_the_day"):
        connection.execute(text("UPDATE predictions SET predicted_at = predicted_at + interval '1 day'"))
    database.close()


def test_in_the_mode_wait_the_service_creates_no_tables_and_continues_once_they_exist(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine, tmp_path: Path
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url, schema_mode="wait", spool_dir=tmp_path / "spool")
    assert service.predict(FLOWER).status_code == 200
    eventually(lambda: service.metric(metric_names.RECORDS, result="retried") > 0)
    assert select(engine, "SELECT to_regclass('predictions')") == [(None,)]
    migrate.run(postgres_url)
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 1)
    assert count_recorded(engine) == 1


def test_a_missing_schema_is_reported_with_the_command_that_migrates(postgres_url: str) -> None:
    database = Database(postgres_url, "wait")
    with pytest.raises(
        StoreUnavailableError, match=r"revision none, .* needs 0004; run python -m iris_inference.migrate"
    ):
        database.prepare()
    database.close()


def test_a_database_of_a_newer_release_is_used_as_it_is(postgres_url: str, engine: Engine) -> None:
    migrate.run(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database = Database(postgres_url)
    assert database.insert([entry("a")]) == 1
    assert select(engine, "SELECT version_num FROM alembic_version") == [("9999",)]
    database.close()


def test_a_database_user_without_the_right_to_create_tables_suffices_for_serving(
    postgres_url: str, engine: Engine
) -> None:
    migrate.run(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS server"))
        connection.execute(text("CREATE ROLE server LOGIN PASSWORD 'server'"))
        connection.execute(text("GRANT SELECT ON alembic_version TO server"))
        connection.execute(text("GRANT SELECT, INSERT ON predictions, feedback TO server"))
    before, _, rest = postgres_url.partition("//")
    database = Database(f"{before}//server:server@{rest.partition('@')[2]}", "wait")
    now = datetime.combine(today(engine), datetime.min.time(), UTC)
    assert database.insert([entry("a", at=now)]) == 1
    assert database.add_feedback("a", 0, "setosa").state is FeedbackState.ACCEPTED
    database.close()


def test_the_command_waits_for_the_database_and_logs_the_result(postgres_url: str, postgres_server: Postgres) -> None:
    postgres_server.server.kill()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(_SOURCES),
        "DATABASE_URL": postgres_url,
        "PYTHONWARNINGS": "error",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "iris_inference.migrate", "--days-ahead", "1", "--keep-days", "30"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as command:  # fmt: skip
        assert command.stdout is not None
        first = command.stdout.readline()
        postgres_server.server.start()
        rest = command.stdout.read()
        assert command.wait(30) == 0
    assert "the database is not available" in first
    assert '"before":null,"after":"0004"' in rest
    assert "integration" not in first + rest


def test_the_command_gives_up_after_its_timeout() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "iris_inference.migrate", "--wait-seconds", "0"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_SOURCES), "DATABASE_URL": _UNREACHABLE},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "the database is not available" in ended.stdout
    assert "hunter2" not in ended.stdout + ended.stderr
