import pytest

from iris_inference import metric_names
from support.inference.api import FLOWER, REVISION, Api, assert_problem
from support.inference.models import Exported
from support.inference.serving import Serve
from support.servers.postgres import Postgres
from support.waiting import eventually


@pytest.fixture
def service(exported: Exported, serve: Serve, postgres_url: str) -> Api:
    return serve(exported("1.0.0"), DATABASE_URL=postgres_url)


def predict_and_record(service: Api, count: int = 1) -> str:
    before = service.metric(metric_names.RECORDS, result="recorded")
    request_id = service.predict(*[FLOWER] * count).json()["request_id"]
    eventually(lambda: service.metric(metric_names.RECORDS, result="recorded") == before + count)
    return str(request_id)


def counts(service: Api) -> tuple[float, float]:
    return (
        service.metric(metric_names.FEEDBACK, outcome="correct"),
        service.metric(metric_names.FEEDBACK, outcome="incorrect"),
    )


def test_a_true_label_is_compared_with_the_prediction(service: Api) -> None:
    request_id = predict_and_record(service, 2)
    correct = service.feedback(request_id, "setosa", instance=0)
    incorrect = service.feedback(request_id, "virginica", instance=1)
    assert correct.json() == {"request_id": request_id, "instance": 0, "outcome": "correct"}
    assert incorrect.json() == {"request_id": request_id, "instance": 1, "outcome": "incorrect"}
    assert counts(service) == (1, 1)


def test_a_label_that_is_sent_again_counts_once(service: Api) -> None:
    request_id = predict_and_record(service)
    answers = [service.feedback(request_id, "setosa") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert counts(service) == (1, 0)


def test_a_second_different_label_is_a_conflict(service: Api) -> None:
    request_id = predict_and_record(service)
    service.feedback(request_id, "setosa")
    assert_problem(service.feedback(request_id, "virginica"), 409)
    assert counts(service) == (1, 0)


def test_an_unknown_prediction_is_not_found(service: Api) -> None:
    assert_problem(service.feedback("never", "setosa"), 404)
    assert_problem(service.feedback(predict_and_record(service), "setosa", instance=1), 404)


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
def test_invalid_feedback_is_rejected(service: Api, body: bytes) -> None:
    assert_problem(service.post("/v1/feedback", body), 422)


def test_feedback_for_another_revision_counts_for_that_one_and_once(
    exported: Exported, serve: Serve, service: Api, postgres_url: str
) -> None:
    request_id = predict_and_record(service)
    other = serve(exported("2.0.0"), DATABASE_URL=postgres_url, revision="def456")
    assert other.feedback(request_id, "setosa").json()["outcome"] == "correct"
    # Sent again, to both pods.
    for pod in (other, service):
        assert pod.feedback(request_id, "setosa").status_code == 200
    assert other.metric(metric_names.FEEDBACK_RELAYED, made_by=REVISION, outcome="correct") == 1
    assert counts(other) == counts(service) == (0, 0)


def test_without_the_database_the_client_gets_a_retry_after(service: Api, postgres_server: Postgres) -> None:
    request_id = predict_and_record(service)
    postgres_server.server.kill()
    try:
        answer = service.feedback(request_id, "setosa")
        assert_problem(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
    finally:
        postgres_server.server.start()
    eventually(lambda: service.feedback(request_id, "setosa").status_code == 200)
    assert counts(service) == (1, 0)
