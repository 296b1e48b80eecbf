from contract.inference.api import FLOWER
from contract.inference.models import Exported
from integration.inference.process import StartService


def test_each_request_is_one_line_of_json(exported: Exported, start_service: StartService) -> None:
    service = start_service(exported("1.0.0"))
    answers = [service.predict(FLOWER), service.predict("no flower"), service.client.get("/nowhere")]
    service.client.get("/healthz")
    lines = [line for line in service.log() if line["message"] == "request"]
    assert [line["request_id"] for line in lines] == [answer.headers["X-Request-ID"] for answer in answers]
    assert [line["status"] for line in lines] == [200, 422, 404]
    assert [line["route"] for line in lines] == ["/v1/predict", "/v1/predict", "unknown"]
    assert all(line["latency_ms"] > 0 and line["model_version"] == "1.0.0" for line in lines)
    assert lines[0]["cache"] == "model"


def test_the_start_is_told_with_the_model(exported: Exported, start_service: StartService) -> None:
    (ready,) = [line for line in start_service(exported("1.0.0")).log() if line["message"] == "ready"]
    assert (ready["model"], ready["version"], ready["revision"]) == ("iris", "1.0.0", "abc123")
