"""POST /v1/predict goes past the framework; through it, it would be answered the same."""

import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Scope

from contract.inference.api import FLOWER, Api
from contract.inference.models import Exported
from contract.inference.serving import serving
from iris_inference import edge
from iris_inference.connections import BoundedProtocol
from iris_inference.exchange import HotRoute
from unit.inference.test_parsing import BODIES, NOT_TEXT

JSON = {"Content-Type": "application/json"}
GOOD = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
REQUESTS = [
    *((JSON, body.encode()) for body in BODIES),
    *((JSON, body) for body in NOT_TEXT),
    *(({"Content-Type": kind}, GOOD) for kind in ("application/json; charset=utf-8", "APPLICATION/JSON", "text/plain")),
    ({"Content-Type": ""}, GOOD),
    *((JSON | {"Content-Encoding": coding}, GOOD) for coding in ("identity", "gzip", "br")),
    (JSON, GOOD.ljust(256 * 1024)),
    (JSON, GOOD.ljust(256 * 1024 + 1)),
    (JSON | {"X-Request-ID": "a b"}, GOOD),
]


@pytest.fixture(scope="module")
def hot(exported: Exported) -> Iterator[Api]:
    """Without a task, where that goes."""
    with serving(exported("2.0.0")) as api:
        yield api


@pytest.fixture(scope="module")
def past_it(exported: Exported) -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as patch, serving(exported("2.0.0")) as api:
        _always_with_a_task(patch, api)
        yield api


@pytest.fixture(scope="module")
def through_it(exported: Exported) -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as patch, serving(exported("2.0.0")) as api:
        _always_with_a_task(patch, api)
        past = edge._predicts
        patch.setattr(edge, "_predicts", lambda scope: past(scope) and scope["server"][1] != api.port)
        yield api


def _always_with_a_task(patch: pytest.MonkeyPatch, api: Api) -> None:
    """For one of the services only: it is told by its port, and what is patched is looked up at each request."""
    take = HotRoute.take

    def leave(route: HotRoute, connection: BoundedProtocol, scope: Scope, body: bytes) -> bool:
        return scope["server"][1] != api.port and take(route, connection, scope, body)

    patch.setattr(HotRoute, "take", leave)


def told(answer: httpx.Response) -> object:
    """All of an answer but what is another one each time."""
    request_id = answer.headers["X-Request-ID"]
    headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
    return answer.status_code, headers, answer.text.replace(request_id, "")


@pytest.mark.parametrize(("headers", "body"), REQUESTS, ids=lambda value: str(value)[:50])
def test_the_answer_is_the_same(hot: Api, past_it: Api, through_it: Api, headers: dict[str, str], body: bytes) -> None:
    answers = [api.client.post("/v1/predict", content=body, headers=headers) for api in (hot, past_it, through_it)]
    assert told(answers[0]) == told(answers[1]) == told(answers[2])


def test_all_ways_count_alike(hot: Api, past_it: Api, through_it: Api) -> None:
    for api in (hot, past_it, through_it):
        api.predict(FLOWER, FLOWER)
        api.predict("no flower")
    counted = [
        {series: value for series, value in api.metrics().items() if "seconds" not in series[0]}
        for api in (hot, past_it, through_it)
    ]
    assert counted[0] == counted[1] == counted[2]
    assert hot.timed() == past_it.timed() == through_it.timed()


def on_the_wire(api: Api, request: bytes) -> bytes:
    """All that comes back to what is sent on one connection, which a last request then closes."""
    with socket.create_connection(("127.0.0.1", api.port), 10) as connection:
        connection.sendall(request + b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while part := connection.recv(65_536):
            received += part
    return re.sub(rb"(date: )[^\r]*|([0-9a-f]{32})", b"", received)


HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"\r\n" + GOOD,
        (HEAD + b"\r\n" + GOOD) * 20,
        HEAD + b"Connection: close\r\n\r\n" + GOOD,
        HEAD.replace(b"/1.1", b"/1.0") + b"\r\n" + GOOD,
        HEAD.replace(b"/1.1", b"/1.0") + b"Connection: keep-alive\r\n\r\n" + GOOD,
        HEAD + b"Connection: keep-alive\r\n\r\n" + GOOD,
        HEAD + b"Upgrade: h2c\r\n\r\n" + GOOD,
        HEAD.replace(b"37", b"40") + b"\r\n" + GOOD,
        HEAD + b"\r\n" + GOOD[:-1] + b"\xff" + HEAD + b"\r\n" + GOOD,
        HEAD.replace(b"predict", b"predict?x=1") + b"\r\n" + GOOD,
        HEAD + b"Expect: 100-continue\r\n\r\n" + GOOD,
        HEAD.replace(b"Content-Length: 37", b"Transfer-Encoding: chunked") + b"\r\n25\r\n" + GOOD + b"\r\n0\r\n\r\n",
        (HEAD + b"\r\n" + GOOD) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + (HEAD + b"\r\n" + GOOD),
        HEAD.replace(b"37", b"36") + b"\r\n" + GOOD[:-1] + (HEAD + b"\r\n" + GOOD),
    ],
    ids=[
        *(
            "one",
            "pipeline",
            "close",
            "old",
            "old-keep-alive",
            "keep-alive",
            "upgrade",
            "too-short",
            "no-text",
            "query",
        ),
        *("expect", "chunked", "mixed", "wrong-then-good"),
    ],
)
def test_the_bytes_on_the_wire_are_the_same(hot: Api, past_it: Api, through_it: Api, request_bytes: bytes) -> None:
    """Seen to fail without the check for `keep_alive`, and without `on_response` of the whole answer."""
    answers = [on_the_wire(api, request_bytes) for api in (hot, past_it, through_it)]
    assert answers[0].startswith(b"HTTP/1.1 ")
    lines = [sorted(answer.lower().split(b"\r\n")) for answer in answers]
    assert lines[0] == lines[1] == lines[2]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_another_method_is_the_frameworks_affair(hot: Api, method: str) -> None:
    answer = hot.client.request(method, "/v1/predict")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
