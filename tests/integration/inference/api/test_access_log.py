import os
import signal
from pathlib import Path

from support.inference.api import FLOWER, assert_problem
from support.inference.keys import new_key
from support.inference.load import load
from support.inference.models import Exported
from support.inference.process import SOURCES, StartService
from support.waiting import eventually


def test_each_request_is_one_line_of_json(exported: Exported, start_service: StartService) -> None:
    service = start_service(exported("1.0.0"))
    answers = [service.predict(FLOWER), service.predict("no flower"), service.client.get("/nowhere")]
    service.client.get("/healthz")
    lines = [line for line in service.log() if line["message"] == "request"]
    assert [line["request_id"] for line in lines] == [answer.headers["X-Request-ID"] for answer in answers]
    assert [line["status"] for line in lines] == [200, 422, 404]
    assert [line["route"] for line in lines] == ["/v1/predict", "/v1/predict", "unknown"]
    assert all(line["latency_ms"] > 0 and line["model_version"] == "1.0.0" for line in lines)
    assert (lines[0]["cache"], lines[0]["instances"], lines[0]["predictions"]) == ("model", 1, ["setosa"])


def test_no_key_and_no_password_is_ever_in_the_log(
    exported: Exported, start_service: StartService, postgres_url: str, redis_url: str
) -> None:
    """Keys wherever somebody may put one by mistake, passwords of servers that refuse them.

    Seen to fail with the headers, the query or the refused body in a request's line.
    """
    made = new_key(postgres_url).text
    service = start_service(
        exported("1.0.0"),
        DATABASE_URL=postgres_url,
        REDIS_URL=redis_url.replace(":integration@", ":not-the-password@"),
        IRIS_AUTH="required",
        IRIS_LOG_FEATURES="full",
        IRIS_LOG_LEVEL="DEBUG",
        IRIS_CACHE_ENTRIES="0",
    )
    good = {"Authorization": f"Bearer {made}"}
    wrong = made[:-1] + ("0" if made[-1] != "0" else "1")
    for _ in range(5):
        assert service.predict(FLOWER, **good).status_code == 200
    answers = [
        service.predict(FLOWER, **good),
        service.predict(FLOWER, **{"X-API-Key": made}),
        service.predict(FLOWER, Authorization=f"Bearer {wrong}"),
        service.predict(FLOWER, Authorization=f"Basic {made}"),
        service.predict(FLOWER, **good, **{"X-Request-ID": f"key {made}"}),
        service.predict(made, **good),
        service.client.post(f"/v1/predict?api_key={made}", json={"instances": [FLOWER], "key": made}, headers=good),
        service.client.get(f"/v1/{made}", headers=good),
        service.client.get(f"/v2/models/{made}", headers=good),
        service.client.post(f"/v2/models/{made}/infer", json={"password": made}, headers=good),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 401, 200, 422, 422, 404, 404, 404]
    answered = [line for line in service.log() if line.get("route") == "/v1/predict" and line["status"] == 200]
    assert [(line["user"], line["features"]) for line in answered] == [("shop", [FLOWER])] * 8
    written = str(service.log())
    for secret in (made.rpartition("_")[2][:-1], "integration", "not-the-password"):
        assert secret not in written
    assert "redis does not answer" in written


def test_an_unexpected_error_has_its_stack_trace_as_a_field(
    exported: Exported, start_service: StartService, tmp_path: Path
) -> None:
    # The parser of bodies, with a fault of its own.
    (tmp_path / "sitecustomize.py").write_text(
        "import iris_inference.api.predict_request\n"
        "def fails(content):\n    raise RuntimeError('two\\nlines')\n"
        "iris_inference.api.predict_request.parse_instances = fails\n"
    )
    service = start_service(exported("1.0.0"), PYTHONPATH=f"{tmp_path}:{SOURCES}")
    answer = service.predict(FLOWER)
    problem = assert_problem(answer, 500)
    assert "two" not in str(problem)
    # The response is sent before the line is written.
    eventually(lambda: service.log()[-1]["message"] == "request")
    (told,) = [line for line in service.log() if line["message"] == "request failed unexpectedly"]
    assert told["request_id"] == answer.headers["X-Request-ID"]
    assert told["stack"].startswith("Traceback")
    assert told["stack"].endswith("RuntimeError: two\nlines")
    (line,) = [line for line in service.log() if line["message"] == "request"]
    assert (line["status"], line["request_id"]) == (500, told["request_id"])


def test_the_last_lines_are_written_before_the_process_exits(exported: Exported, start_service: StartService) -> None:
    service = start_service(exported("1.0.0"))
    with load(service) as made:
        made.await_acknowledged(200)
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.process.wait(20) == 0
    told = {line["request_id"] for line in service.log() if line["message"] == "request" and line["status"] == 200}
    assert set(made.acknowledged) <= told
    assert service.log()[-1]["message"] == "drained"


def test_the_start_is_logged_with_the_model(exported: Exported, start_service: StartService) -> None:
    (ready,) = [line for line in start_service(exported("1.0.0")).log() if line["message"] == "ready"]
    assert (ready["model"], ready["version"], ready["revision"]) == ("iris", "1.0.0", "abc123")
