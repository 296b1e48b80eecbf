import asyncio
import io
import json
import logging
from typing import Any

import pytest

from iris_inference.api.access_log import MAX_LOGGED_INSTANCES, AccessLog
from iris_inference.logs import JsonFormatter, LineHandler, LogWriter
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Instance, pack
from iris_inference.prediction.batch import PredictionResult
from iris_inference.settings import Settings
from support.inference import graphs

FLOWER, OTHER = (5.1, 3.5, 1.4, 0.2), (6.3, 3.3, 6.0, 2.5)


def predicted(*instances: Instance) -> PredictionResult:
    return PredictionResult(instances, pack(instances), [Prediction(0, (1.0, 0.0, 0.0))] * len(instances), "model")


def line(result: PredictionResult | None = None, **settings: Any) -> dict[str, Any]:
    (only,) = lines([result], **settings)
    return only


def lines(results: list[PredictionResult | None], **settings: Any) -> list[dict[str, Any]]:
    stream = io.BytesIO()

    async def write() -> None:
        log = AccessLog(LogWriter(stream), graphs.artifact(b"").manifest, Settings(auth="off", **settings))
        for result in results:
            state = {"request_id": "order-17", "headers": {b"authorization": b"Bearer secret"}, "user": "shop"}
            log.write("POST", "/v1/predict", 200, 0.0012345, state | ({"answer": result} if result else {}))
        assert stream.getvalue() == b""
        await asyncio.sleep(0)

    asyncio.run(write())
    content = stream.getvalue()
    assert max(map(len, content.splitlines())) < 16 * 1024
    assert b"secret" not in content
    return [dict(json.loads(one)) for one in content.splitlines()]


def test_a_line_has_the_user_the_request_and_the_result() -> None:
    written = line(predicted(FLOWER), log_features="full")
    assert written.pop("time").startswith("20")
    assert written == {
        "level": "INFO",
        "logger": "iris_inference.requests",
        "message": "request",
        "request_id": "order-17",
        "method": "POST",
        "route": "/v1/predict",
        "status": 200,
        "latency_ms": 1.234,
        "model_version": "1.0.0",
        "user": "shop",
        "cache": "model",
        "instances": 1,
        "features": [list(FLOWER)],
        "predictions": ["setosa"],
    }


def test_features_are_hashed_unless_configured_otherwise() -> None:
    assert "features" not in line(predicted(FLOWER))
    assert len(line(predicted(FLOWER))["features_hash"]) == 32
    assert {"features", "features_hash"}.isdisjoint(line(predicted(FLOWER), log_features="off"))


def test_the_hash_distinguishes_instances_and_depends_on_the_key() -> None:
    one, same, other, both = (
        written["features_hash"]
        for written in lines([predicted(FLOWER), predicted(FLOWER), predicted(OTHER), predicted(FLOWER, OTHER)])
    )
    assert one == same
    assert len({one, other, both}) == 3
    keyed = [line(predicted(FLOWER), log_hash_key=key)["features_hash"] for key in ("a", "a", "b")]
    assert keyed[0] == keyed[1] != keyed[2]
    assert one != line(predicted(FLOWER))["features_hash"]


def test_a_line_of_many_instances_is_short_enough_for_a_container_runtime() -> None:
    written = line(predicted(*[FLOWER] * 256), log_features="full")
    assert written["instances"] == 256
    assert len(written["features"]) == len(written["predictions"]) == MAX_LOGGED_INSTANCES


def test_a_request_without_a_prediction_has_a_line_too() -> None:
    assert "cache" not in line(None)


def test_lines_of_one_turn_of_the_loop_are_written_together_and_in_order_with_loggers() -> None:
    writes: list[bytes] = []

    class Stream(io.BytesIO):
        def write(self, data: Any) -> int:
            writes.append(bytes(data))
            return len(data)

    async def write() -> None:
        writer = LogWriter(Stream())
        handler = LineHandler(writer)
        handler.setFormatter(JsonFormatter())
        writer.write_soon(b"a\n")
        writer.write_soon(b"b\n")
        handler.emit(logging.LogRecord("iris", logging.INFO, "file", 1, "c", (), None))
        writer.write_soon(b"d\n")
        await asyncio.sleep(0)

    asyncio.run(write())
    assert len(writes) == 2
    assert writes[0].startswith(b"a\nb\n{")
    assert writes[1] == b"d\n"


def test_a_failing_stream_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(io.BytesIO):
        def write(self, _data: Any) -> int:
            raise BrokenPipeError("nobody reads")

    handler = LineHandler(LogWriter(Broken()))
    handler.emit(logging.LogRecord("iris", logging.INFO, "file", 1, "c", (), None))
    assert "nobody reads" in capsys.readouterr().err
