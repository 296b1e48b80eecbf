import os
import signal
import time

from sqlalchemy import Engine, text

from iris_inference import metric_names
from support.inference.api import FLOWER
from support.inference.database import count_recorded, select
from support.inference.models import Exported
from support.inference.process import StartService
from support.inference.serving import Serve
from support.servers.postgres import Postgres
from support.waiting import eventually

OTHER = [6.3, 3.3, 6.0, 2.5]


def test_a_prediction_is_recorded_with_its_features_model_and_revision(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url)
    answer = service.predict(FLOWER, OTHER).json()
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 2)
    rows = select(
        engine, "SELECT *, now() - predicted_at < interval '1 minute' AS recent FROM predictions ORDER BY instance"
    )
    assert [row.instance for row in rows] == [0, 1]
    assert {row.request_id for row in rows} == {answer["request_id"]}
    assert [row.features for row in rows] == [FLOWER, OTHER]
    assert [row.label for row in rows] == ["setosa", "virginica"]
    assert rows[0].probabilities == list(answer["predictions"][0]["probabilities"].values())
    assert {(row.model_name, row.model_version, row.revision, len(row.model_digest)) for row in rows} == {
        ("iris", "1.0.0", "abc123", 64)
    }
    assert all(row.recent for row in rows)


def test_each_instance_of_a_large_request_is_recorded_with_its_own_numbers(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    """Seen to fail with the features of each class in the wrong order."""
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url)
    # Neighbouring instances have different classes.
    lengths = [number * 97 % 250 for number in range(250)]
    instances = [[4.3 + length / 100, 3.0, 1.0 + length / 50, length / 100] for length in lengths]
    answer = service.predict(*instances).json()
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 250)
    rows = select(engine, "SELECT instance, features, label, probabilities FROM predictions ORDER BY instance")
    assert [row.instance for row in rows] == list(range(250))
    assert [row.features for row in rows] == instances
    predicted = answer["predictions"]
    assert [row.label for row in rows] == [one["label"] for one in predicted]
    assert [row.probabilities for row in rows] == [list(one["probabilities"].values()) for one in predicted]
    assert len({row.label for row in rows}) == 3


def test_predictions_continue_while_the_database_is_down_and_are_recorded_once_after(
    exported: Exported, serve: Serve, postgres_url: str, postgres_server: Postgres, engine: Engine
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url)
    service.predict(FLOWER)
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 1)
    postgres_server.server.kill()
    try:
        assert {service.predict(FLOWER, OTHER).status_code for _ in range(50)} == {200}
        eventually(lambda: service.metric(metric_names.RECORDS, result="retried") > 0)
    finally:
        postgres_server.server.start()
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 101, seconds=30)
    assert count_recorded(engine) == 101
    assert service.metric(metric_names.RECORDS, result="dropped") == 0


def test_an_unresponsive_database_does_not_slow_predictions(
    exported: Exported, serve: Serve, postgres_url: str, postgres_server: Postgres
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url)
    service.predict(FLOWER)
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 1)
    durations = []
    with postgres_server.server.frozen():
        for _ in range(50):
            started = time.perf_counter()
            assert service.predict(FLOWER).status_code == 200
            durations.append(time.perf_counter() - started)
    assert sorted(durations)[40] < 0.1
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 51, seconds=30)


def test_records_that_do_not_fit_while_the_database_is_down_are_dropped_and_counted(
    exported: Exported, serve: Serve, postgres_url: str, postgres_server: Postgres, engine: Engine
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url, record_buffer=10, record_batch=10)
    service.predict(FLOWER)
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 1)
    postgres_server.server.kill()
    try:
        assert {service.predict(FLOWER).status_code for _ in range(50)} == {200}
        dropped = service.metric(metric_names.RECORDS, result="dropped")
        assert dropped >= 30
    finally:
        postgres_server.server.start()
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 51 - dropped, seconds=30)
    assert count_recorded(engine) == 51 - dropped


def test_a_database_that_starts_after_the_service_gets_its_tables(
    exported: Exported, serve: Serve, postgres_url: str, postgres_server: Postgres, engine: Engine
) -> None:
    postgres_server.server.kill()
    try:
        service = serve(exported("1.0.0"), DATABASE_URL=postgres_url)
        assert service.predict(FLOWER).status_code == 200
    finally:
        postgres_server.server.start()
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 1, seconds=30)
    assert count_recorded(engine) == 1


def test_services_that_start_together_create_the_tables_once(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    services = [serve(exported("1.0.0"), DATABASE_URL=postgres_url) for _ in range(3)]
    for service in services:
        service.predict(FLOWER)
    eventually(lambda: all(service.metric(metric_names.RECORDS, result="recorded") == 1 for service in services))
    assert count_recorded(engine) == 3


def test_a_database_that_was_emptied_gets_its_tables_again(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url)
    service.predict(FLOWER)
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 1)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    service.predict(FLOWER)
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == 2)
    assert count_recorded(engine) == 1


def test_a_request_sent_twice_is_recorded_once(
    exported: Exported, serve: Serve, postgres_url: str, engine: Engine
) -> None:
    service = serve(exported("1.0.0"), DATABASE_URL=postgres_url)
    for _ in range(3):
        assert service.predict(FLOWER, **{"X-Request-ID": "order-17"}).status_code == 200
    eventually(lambda: service.metric(metric_names.RECORDS, result="duplicate") == 2)
    assert count_recorded(engine) == 1


def test_predictions_answered_before_sigterm_are_recorded(
    exported: Exported, start_service: StartService, postgres_url: str, engine: Engine
) -> None:
    service = start_service(exported("1.0.0"), DATABASE_URL=postgres_url)
    assert {service.predict(*[FLOWER] * 100).status_code for _ in range(20)} == {200}
    os.kill(service.process.pid, signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert count_recorded(engine) == 2_000


def test_an_unavailable_database_does_not_delay_the_shutdown(
    exported: Exported, start_service: StartService, postgres_url: str
) -> None:
    service = start_service(exported("1.0.0"), DATABASE_URL=_unreachable(postgres_url), IRIS_FLUSH_SECONDS="1")
    assert service.predict(FLOWER).status_code == 200
    os.kill(service.process.pid, signal.SIGTERM)
    assert service.process.wait(10) == 0
    (lost,) = [line for line in service.log() if line["message"] == "predictions were not recorded"]
    assert lost["records"] == 1
    assert "integration" not in str(service.log())


def _unreachable(url: str) -> str:
    before, _, database = url.rpartition("/")
    return f"{before.rpartition(':')[0]}:1/{database}"
