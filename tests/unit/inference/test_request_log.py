import asyncio
import io
import json
import logging
from typing import Any

import pytest

from iris_inference.asks import Answer
from iris_inference.logs import JsonFormatter, LineHandler, Lines
from iris_inference.predictions import Prediction
from iris_inference.request_log import MOST_FLOWERS, RequestLog
from iris_inference.runtime import Instance, pack
from iris_inference.settings import Settings
from unit.inference import graphs

FLOWER, OTHER = (5.1, 3.5, 1.4, 0.2), (6.3, 3.3, 6.0, 2.5)


def answer(*instances: Instance) -> Answer:
    return Answer(instances, pack(instances), [Prediction(0, (1.0, 0.0, 0.0))] * len(instances), "model")


def line(told: Answer | None = None, **settings: Any) -> dict[str, Any]:
    (only,) = lines([told], **settings)
    return only


def lines(answers: list[Answer | None], **settings: Any) -> list[dict[str, Any]]:
    stream = io.BytesIO()

    async def write() -> None:
        log = RequestLog(Lines(stream), graphs.artifact(b"").manifest, Settings(auth="off", **settings))
        for told in answers:
            state = {"request_id": "order-17", "headers": {b"authorization": b"Bearer secret"}, "user": "shop"}
            log.write("POST", "/v1/predict", 200, 0.0012345, state | ({"answer": told} if told else {}))
        assert stream.getvalue() == b""
        await asyncio.sleep(0)

    asyncio.run(write())
    written = stream.getvalue()
    assert max(map(len, written.splitlines())) < 16 * 1024
    assert b"secret" not in written
    return [dict(json.loads(one)) for one in written.splitlines()]


def test_a_line_says_who_asked_for_what_and_got_what() -> None:
    told = line(answer(FLOWER), log_features="full")
    assert told.pop("time").startswith("20")
    assert told == {
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


def test_features_are_hashed_unless_more_or_less_is_asked_for() -> None:
    assert "features" not in line(answer(FLOWER))
    assert len(line(answer(FLOWER))["features_hash"]) == 32
    assert {"features", "features_hash"}.isdisjoint(line(answer(FLOWER), log_features="off"))


def test_the_hash_tells_flowers_apart_and_needs_the_key_to_be_compared() -> None:
    one, same, other, both = (
        told["features_hash"] for told in lines([answer(FLOWER), answer(FLOWER), answer(OTHER), answer(FLOWER, OTHER)])
    )
    assert one == same
    assert len({one, other, both}) == 3
    keyed = [line(answer(FLOWER), log_hash_key=key)["features_hash"] for key in ("a", "a", "b")]
    assert keyed[0] == keyed[1] != keyed[2]
    assert one != line(answer(FLOWER))["features_hash"]


def test_a_line_of_many_flowers_is_short_enough_for_a_container_runtime() -> None:
    told = line(answer(*[FLOWER] * 256), log_features="full")
    assert told["instances"] == 256
    assert len(told["features"]) == len(told["predictions"]) == MOST_FLOWERS


def test_a_request_without_an_answer_has_a_line_too() -> None:
    assert "cache" not in line(None)


def test_lines_of_a_turn_go_out_together_and_in_order_with_those_of_loggers() -> None:
    writes: list[bytes] = []

    class Stream(io.BytesIO):
        def write(self, data: Any) -> int:
            writes.append(bytes(data))
            return len(data)

    async def write() -> None:
        written = Lines(Stream())
        handler = LineHandler(written)
        handler.setFormatter(JsonFormatter())
        written.write_soon(b"a\n")
        written.write_soon(b"b\n")
        handler.emit(logging.LogRecord("iris", logging.INFO, "file", 1, "c", (), None))
        written.write_soon(b"d\n")
        await asyncio.sleep(0)

    asyncio.run(write())
    assert len(writes) == 2
    assert writes[0].startswith(b"a\nb\n{")
    assert writes[1] == b"d\n"


def test_what_cannot_be_written_does_not_stop_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(io.BytesIO):
        def write(self, _data: Any) -> int:
            raise BrokenPipeError("nobody reads")

    handler = LineHandler(Lines(Broken()))
    handler.emit(logging.LogRecord("iris", logging.INFO, "file", 1, "c", (), None))
    assert "nobody reads" in capsys.readouterr().err
