"""The outermost layer: request ids, the headers of every response, the access log and the request metrics."""

import logging
import time
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from iris_inference.api.access_log import AccessLog
from iris_inference.api.body import BODY, headers_of
from iris_inference.api.context import PREDICT_PATH, STARTED, AppContext
from iris_inference.api.predict import PredictEndpoint
from iris_inference.api.request_id import RequestIds
from iris_inference.logs import fields
from iris_inference.prediction.batch import PredictionResult
from iris_inference.server.connection_limiter import PROBE_PATHS
from iris_inference.server.fast_path import FastPath
from iris_inference.server.raw_response import CYCLE, RawResponseWriter, buffered_body

log = logging.getLogger(__name__)

_OK: Final = HTTPStatus.OK.value
# The status of the response, and the unexpected exception that led to it.
ServedResponse = tuple[int, Exception | None]


class Middleware:
    """Wraps the whole application, its error handlers included, so that every response passes here."""

    def __init__(
        self,
        app: ASGIApp,
        predict: PredictEndpoint,
        context: AppContext,
        access_log: AccessLog,
        path: str = PREDICT_PATH,
    ) -> None:
        """`path` is the public path of predictions."""
        manifest = context.manifest
        self._app = app
        self._predict = predict
        self._metrics = context.metrics
        self._lifecycle = context.lifecycle
        self._version_header = (b"x-model-version", manifest.version.encode())
        self._model_path = f"/v2/models/{manifest.name}/"
        self._access_log = access_log
        self._request_ids = RequestIds()
        self._response_writer = RawResponseWriter(manifest.version)
        # For the server, which tries it first.
        self.fast_path = FastPath(context, self._request_ids, self._response_writer, access_log, path)

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
            state["request_id"] = self._request_ids.choose(headers.get(b"x-request-id"))
        cycle = state.pop(CYCLE, None)
        if _is_prediction(scope):
            status, failure = await self._serve_prediction(scope, receive, send, cycle)
        else:
            status, failure = await self._serve_other(scope, receive, send)
        self._record(scope, status, time.perf_counter() - started, failure)

    async def _serve_prediction(
        self, scope: Scope, receive: Receive, send: Send, cycle: RequestResponseCycle | None
    ) -> ServedResponse:
        """Call the endpoint directly: the application's layers would cost more than the rest of the request."""
        state = scope["state"]
        body = buffered_body(cycle)
        if body is not None:
            state[BODY] = body
        response = await self._predict(scope, receive)
        request_id: str = state["request_id"]
        is_plain = response.status == _OK and not self._lifecycle.draining
        if is_plain and self._response_writer.write(cycle, request_id, response.body):
            return _OK, None
        headers = [*response.headers, *self._common_headers(request_id)]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        return response.status, response.failure

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> ServedResponse:
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._common_headers(scope["state"]["request_id"])]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - the error handlers have responded; here it is only logged
            return status, error
        return status, None

    def _common_headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", request_id.encode()), self._version_header]
        if self._lifecycle.draining:
            # The client opens its next connection to another pod instead of losing a request on this one.
            headers.append((b"connection", b"close"))
        return headers

    def _record(self, scope: Scope, status: int, seconds: float, failure: Exception | None) -> None:
        path: str = scope["path"]
        state = scope["state"]
        # A request for another version than this one is counted too: during a rollout it matters.
        if path == PREDICT_PATH or (path.startswith(self._model_path) and path.endswith("/infer")):
            # A result that could not be written is no prediction for the client.
            result: PredictionResult | None = state.get("answer") if status == _OK else None
            self._metrics.request(status, seconds, result.source if result else None)
        if failure is not None:
            log.error(
                "request failed unexpectedly",
                exc_info=failure,
                extra=fields(request_id=state["request_id"], route=_route_template(scope), status=status),
            )
        # Probes arrive every few seconds and log nothing that the readiness of the pod does not show.
        if self._access_log.logs_requests and (self._access_log.logs_probes or path not in PROBE_PATHS):
            self._access_log.write(scope["method"], _route_template(scope), status, seconds, state)


def _is_prediction(scope: Scope) -> bool:
    return bool(scope["path"] == PREDICT_PATH and scope["method"] == "POST")


def _route_template(scope: Scope) -> str:
    """The route's template, or a constant for unknown paths, whose number is unbounded."""
    if scope["path"] == PREDICT_PATH:
        return PREDICT_PATH
    return getattr(scope.get("route"), "path", "unknown")
