"""POST /v1/predict bypasses the framework; through it, the responses are the same."""

import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Scope

from iris_inference.server import middleware
from iris_inference.server.connection import BoundedProtocol
from iris_inference.server.fast_path import FastPath
from support.inference.api import FLOWER, Api
from support.inference.models import Exported
from support.inference.serving import serving
from unit.inference.api.test_predict_request import BODIES, NOT_TEXT

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
def fast_path(exported: Exported) -> Iterator[Api]:
    """Without a task, where that is possible."""
    with serving(exported("2.0.0")) as api:
        yield api


@pytest.fixture(scope="module")
def endpoint(exported: Exported) -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as patch, serving(exported("2.0.0")) as api:
        _disable_fast_path(patch, api)
        yield api


@pytest.fixture(scope="module")
def framework(exported: Exported) -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as patch, serving(exported("2.0.0")) as api:
        _disable_fast_path(patch, api)
        is_prediction = middleware._is_prediction
        patch.setattr(
            middleware, "_is_prediction", lambda scope: is_prediction(scope) and scope["server"][1] != api.port
        )
        yield api


def _disable_fast_path(patch: pytest.MonkeyPatch, api: Api) -> None:
    """For one of the services only, by its port: the patched method is looked up at each request."""
    try_serve = FastPath.try_serve

    def patched(route: FastPath, connection: BoundedProtocol, scope: Scope, body: bytes) -> bool:
        return scope["server"][1] != api.port and try_serve(route, connection, scope, body)

    patch.setattr(FastPath, "try_serve", patched)


def comparable(answer: httpx.Response) -> object:
    """A response without its request id and its date."""
    request_id = answer.headers["X-Request-ID"]
    headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
    return answer.status_code, headers, answer.text.replace(request_id, "")


@pytest.mark.parametrize(("headers", "body"), REQUESTS, ids=lambda value: str(value)[:50])
def test_the_response_is_the_same(
    fast_path: Api, endpoint: Api, framework: Api, headers: dict[str, str], body: bytes
) -> None:
    answers = [
        api.client.post("/v1/predict", content=body, headers=headers) for api in (fast_path, endpoint, framework)
    ]
    assert comparable(answers[0]) == comparable(answers[1]) == comparable(answers[2])


def test_all_paths_count_alike(fast_path: Api, endpoint: Api, framework: Api) -> None:
    for api in (fast_path, endpoint, framework):
        api.predict(FLOWER, FLOWER)
        api.predict("no flower")
    counted = [
        {series: value for series, value in api.metrics().items() if "seconds" not in series[0]}
        for api in (fast_path, endpoint, framework)
    ]
    assert counted[0] == counted[1] == counted[2]
    assert fast_path.timed() == endpoint.timed() == framework.timed()


def on_the_wire(api: Api, request: bytes) -> bytes:
    """Everything that is received on one connection, which a last request then closes."""
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
def test_the_bytes_on_the_wire_are_the_same(
    fast_path: Api, endpoint: Api, framework: Api, request_bytes: bytes
) -> None:
    """Seen to fail without the check for `keep_alive`, and without `on_response` of `RawResponseWriter`."""
    answers = [on_the_wire(api, request_bytes) for api in (fast_path, endpoint, framework)]
    assert answers[0].startswith(b"HTTP/1.1 ")
    lines = [sorted(answer.lower().split(b"\r\n")) for answer in answers]
    assert lines[0] == lines[1] == lines[2]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_another_method_is_refused_by_the_framework(fast_path: Api, method: str) -> None:
    answer = fast_path.client.request(method, "/v1/predict")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
