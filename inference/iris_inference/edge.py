"""The outermost layer: request ids, the headers of every answer, the request's log line and its metrics."""

import logging
import time
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from iris_inference.admission import PROBE_PATHS
from iris_inference.asks import Answer
from iris_inference.body import BODY, headers_of
from iris_inference.exchange import PREDICT_PATH, STARTED, HotRoute
from iris_inference.logs import fields
from iris_inference.predict import Predict
from iris_inference.request_ids import RequestIds
from iris_inference.request_log import RequestLog
from iris_inference.routing import Room
from iris_inference.whole_answers import CYCLE, WholeAnswers, whole_body

log = logging.getLogger(__name__)

_OK: Final = HTTPStatus.OK.value
# The status of the answer, and what nobody thought of that led to it.
Served = tuple[int, Exception | None]


class Edge:
    """Wraps the whole application, its error handlers included, so that nothing is answered without passing here."""

    def __init__(
        self, app: ASGIApp, predict: Predict, room: Room, request_log: RequestLog, path: str = PREDICT_PATH
    ) -> None:
        """`path` is where predictions are asked for from outside."""
        manifest = room.manifest
        self._app = app
        self._predict = predict
        self._metrics = room.metrics
        self._lifecycle = room.lifecycle
        self._version_header = (b"x-model-version", manifest.version.encode())
        self._model_path = f"/v2/models/{manifest.name}/"
        self._log = request_log
        self._ids = RequestIds()
        self._whole = WholeAnswers(manifest.version)
        # For the server, which asks it first.
        self.hot = HotRoute(room, self._ids, self._whole, request_log, path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        started: float | None = state.pop(STARTED, None)
        if started is None:
            started = time.perf_counter()
            state["headers"] = headers = headers_of(scope)
            state["request_id"] = self._ids.of(headers.get(b"x-request-id"))
        cycle = state.pop(CYCLE, None)
        if _predicts(scope):
            status, failure = await self._serve_prediction(scope, receive, send, cycle)
        else:
            status, failure = await self._serve_other(scope, receive, send)
        self._finish(scope, status, time.perf_counter() - started, failure)

    async def _serve_prediction(
        self, scope: Scope, receive: Receive, send: Send, cycle: RequestResponseCycle | None
    ) -> Served:
        """Answer by the endpoint itself: the application's layers would cost more than all else about it."""
        state = scope["state"]
        body = whole_body(cycle)
        if body is not None:
            state[BODY] = body
        answer = await self._predict(scope, receive)
        request_id: str = state["request_id"]
        plain = answer.status == _OK and not self._lifecycle.draining
        if plain and self._whole.write(cycle, request_id, answer.body):
            return _OK, None
        headers = [*answer.headers, *self._marks(request_id)]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
        return answer.status, answer.failure

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> Served:
        status = 500

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._marks(scope["state"]["request_id"])]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:  # noqa: BLE001 - the error handlers have answered; here it is only told
            return status, error
        return status, None

    def _marks(self, request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", request_id.encode()), self._version_header]
        if self._lifecycle.draining:
            # The client opens its next connection elsewhere instead of losing a request on this one.
            headers.append((b"connection", b"close"))
        return headers

    def _finish(self, scope: Scope, status: int, seconds: float, failure: Exception | None) -> None:
        path: str = scope["path"]
        state = scope["state"]
        # A client that names another version than this one is counted too: during a rollout that is news.
        if path == PREDICT_PATH or (path.startswith(self._model_path) and path.endswith("/infer")):
            # What was found and could not be written is no prediction to who asked.
            answer: Answer | None = state.get("answer") if status == _OK else None
            self._metrics.request(status, seconds, answer.source if answer else None)
        if failure is not None:
            log.error(
                "request failed unexpectedly",
                exc_info=failure,
                extra=fields(request_id=state["request_id"], route=_route(scope), status=status),
            )
        # Probes come every few seconds for ever and say nothing that the readiness of the pod does not.
        if self._log.tells_requests and (self._log.tells_probes or path not in PROBE_PATHS):
            self._log.write(scope["method"], _route(scope), status, seconds, state)


def _predicts(scope: Scope) -> bool:
    return bool(scope["path"] == PREDICT_PATH and scope["method"] == "POST")


def _route(scope: Scope) -> str:
    """The route's template, or a fixed word for unknown paths, whose number has no bound."""
    if scope["path"] == PREDICT_PATH:
        return PREDICT_PATH
    return getattr(scope.get("route"), "path", "unknown")
