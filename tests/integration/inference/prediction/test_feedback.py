import pytest

from contract.inference.api import FLOWER, REVISION, Api, assert_problem
from contract.inference.models import Exported
from contract.inference.serving import Serve
from integration.harness.postgres import Postgres
from integration.inference.waiting import eventually


@pytest.fixture
def service(exported: Exported, serve: Serve, postgres_url: str) -> Api:
    return serve(exported("1.0.0"), DATABASE_URL=postgres_url)


def predicted(service: Api, count: int = 1) -> str:
    before = service.metric("prediction_records_total", result="recorded")
    request_id = service.predict(*[FLOWER] * count).json()["request_id"]
    eventually(lambda: service.metric("prediction_records_total", result="recorded") == before + count)
    return str(request_id)


def counts(service: Api) -> tuple[float, float]:
    return (
        service.metric("model_feedback_total", outcome="correct"),
        service.metric("model_feedback_total", outcome="incorrect"),
    )


def test_a_true_label_is_held_against_the_prediction(service: Api) -> None:
    request_id = predicted(service, 2)
    right = service.feedback(request_id, "setosa", instance=0)
    wrong = service.feedback(request_id, "virginica", instance=1)
    assert right.json() == {"request_id": request_id, "instance": 0, "outcome": "correct"}
    assert wrong.json() == {"request_id": request_id, "instance": 1, "outcome": "incorrect"}
    assert counts(service) == (1, 1)


def test_a_label_that_is_sent_again_counts_once(service: Api) -> None:
    request_id = predicted(service)
    answers = [service.feedback(request_id, "setosa") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert counts(service) == (1, 0)


def test_a_second_different_label_is_a_conflict(service: Api) -> None:
    request_id = predicted(service)
    service.feedback(request_id, "setosa")
    assert_problem(service.feedback(request_id, "virginica"), 409)
    assert counts(service) == (1, 0)


def test_an_unknown_prediction_is_not_found(service: Api) -> None:
    assert_problem(service.feedback("never", "setosa"), 404)
    assert_problem(service.feedback(predicted(service), "setosa", instance=1), 404)


@pytest.mark.parametrize(
    "body",
    [
        b'{"request_id": "x", "label": "rose"}',
        b'{"request_id": "x", "instance": -1, "label": "setosa"}',
        b'{"request_id": "x", "instance": 1.5, "label": "setosa"}',
        b'{"request_id": "x\\u0000", "label": "setosa"}',
        b'{"request_id": 1, "label": "setosa"}',
        b'{"label": "setosa"}',
        b'{"request_id": "x", "label": "setosa", "extra": 1}',
    ],
)
def test_wrong_feedback_is_refused(service: Api, body: bytes) -> None:
    assert_problem(service.post("/v1/feedback", body), 422)


def test_feedback_for_another_revision_counts_for_that_one_and_once(
    exported: Exported, serve: Serve, service: Api, postgres_url: str
) -> None:
    request_id = predicted(service)
    other = serve(exported("2.0.0"), DATABASE_URL=postgres_url, revision="def456")
    assert other.feedback(request_id, "setosa").json()["outcome"] == "correct"
    # Sent again, to whichever pod.
    for pod in (other, service):
        assert pod.feedback(request_id, "setosa").status_code == 200
    assert other.metric("model_feedback_relayed_total", made_by=REVISION, outcome="correct") == 1
    assert counts(other) == counts(service) == (0, 0)


def test_without_the_database_the_client_is_told_to_come_back(service: Api, postgres_server: Postgres) -> None:
    request_id = predicted(service)
    postgres_server.server.kill()
    try:
        answer = service.feedback(request_id, "setosa")
        assert_problem(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
    finally:
        postgres_server.server.start()
    eventually(lambda: service.feedback(request_id, "setosa").status_code == 200)
    assert counts(service) == (1, 0)
