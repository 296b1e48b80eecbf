"""POST /v1/predict from the last byte of its body to its response, without a task of its own.

A task for each request, its coroutines and the futures that they await cost as much as the prediction. A valid request
needs none of them: it is batched with the others of the same turn of the event loop, and the batch writes its response.
A request that is unusual or fails is forwarded to the application (middleware.py), which writes all error responses.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final, Protocol

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from iris_inference.api import predict_request
from iris_inference.api.access_log import AccessLog
from iris_inference.api.body import JSON, headers_of
from iris_inference.api.context import OUTCOME, PREDICT_PATH, STARTED, AppContext
from iris_inference.api.predict_response import ResponseRenderer
from iris_inference.api.request_id import RequestIds
from iris_inference.auth.identity import Scope as Need
from iris_inference.logs import fields
from iris_inference.model.runtime import InferenceError, Instance
from iris_inference.prediction.batch import BatchItem, PredictionResult
from iris_inference.server.raw_response import RawResponseWriter

log = logging.getLogger(__name__)

_JSON: Final = JSON.encode()
_OK: Final = HTTPStatus.OK.value
# Requests with one of these headers are left to uvicorn and the application.
_UNSUPPORTED_HEADERS: Final = frozenset({b"content-encoding", b"expect", b"transfer-encoding", b"upgrade"})


class Connection(Protocol):
    """The connection of a request: uvicorn's own attributes, and how to forward a request to the application."""

    cycle: Any
    parser: Any
    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    def on_response_complete(self) -> None:
        """The response is written."""
        ...

    def forward_to_application(self, scope: Scope, path: str, request: "FastPathRequest | None" = None) -> None:
        """Let the application respond to a request that a fast path accepted; `request` once it was enqueued."""
        ...


class FastPath:
    """Serves the ordinary requests of one server."""

    def __init__(
        self,
        context: AppContext,
        request_ids: RequestIds,
        response_writer: RawResponseWriter,
        access_log: AccessLog,
        path: str = PREDICT_PATH,
    ) -> None:
        """`path` is the path of requests that are forwarded to the application."""
        self.path = path
        self._context = context
        self._request_ids = request_ids
        self._response_writer = response_writer
        self._access_log = access_log
        self._max_bytes = context.settings.max_body_bytes
        self._render = ResponseRenderer(context.manifest, context.settings.revision).render

    def try_serve(self, connection: Connection, scope: Scope, body: bytes) -> bool:
        """Serve a complete request to PREDICT_PATH. False: nothing was done, the application has to serve it."""
        context = self._context
        headers = headers_of(scope)
        if (
            context.predictions is None
            or context.lifecycle.draining
            or not _UNSUPPORTED_HEADERS.isdisjoint(headers)
            or headers.get(b"content-type", _JSON) != _JSON
            or len(body) > self._max_bytes
            # uvicorn does not keep a connection of HTTP/1.0 open, whatever the client requests.
            or (b"connection" in headers and connection.parser.get_http_version() != "1.1")
        ):
            return False
        started = time.perf_counter()
        request_id = self._request_ids.choose(headers.get(b"x-request-id"))
        state = scope["state"]
        state["headers"] = headers
        state["request_id"] = request_id
        try:
            context.guard.check(scope, Need.PREDICT)
            request = FastPathRequest(
                self, connection, scope, started, request_id, predict_request.parse_instances(body)
            )
        except Exception as error:  # noqa: BLE001 - the application responds to each, and logs unexpected ones
            state[STARTED] = started
            state[OUTCOME] = error
            connection.forward_to_application(scope, self.path)
        else:
            connection.cycle = request
            context.predictions.enqueue(request)
        return True

    def try_respond(self, request: "FastPathRequest", result: PredictionResult) -> bool:
        """Write a successful response. False: nothing was done, because it cannot be written in one piece."""
        connection = request.connection
        is_disconnected = request.disconnected or connection.transport.is_closing()
        if not is_disconnected and not self._can_write(request):
            return False
        state = request.scope["state"]
        request_id = request.request_id
        body = self._render(request_id, result.predictions)
        response = self._response_writer.render(connection.server_state.default_headers, request_id, body)
        request.response_complete = True
        if not is_disconnected:
            connection.transport.write(response)
            connection.on_response_complete()
        seconds = time.perf_counter() - request.started
        self._context.metrics.request(_OK, seconds, result.source)
        if self._access_log.logs_requests:
            state["answer"] = result
            self._access_log.write("POST", PREDICT_PATH, _OK, seconds, state)
        if self._context.mirror.enabled:
            self._context.mirror.enqueue(state, result.instances, result.predictions)
        return True

    def mirror_failure(self, request: "FastPathRequest", error: Exception) -> None:
        """Mirror a request that the model failed on; the application writes the response."""
        if self._context.mirror.enabled and isinstance(error, InferenceError):
            self._context.mirror.enqueue(request.scope["state"], request.instances, None)

    def _can_write(self, request: "FastPathRequest") -> bool:
        return request.keep_alive and not request.connection.flow.write_paused and not self._context.lifecycle.draining


class FastPathRequest(BatchItem):
    """A request in progress. uvicorn has it in the place of its own RequestResponseCycle."""

    __slots__ = ("_fast_path", "connection", "disconnected", "keep_alive", "response_complete", "scope", "started")
    # uvicorn sets it when data has arrived or the connection was lost. Nothing waits for it here.
    message_event: ClassVar = asyncio.Event()

    def __init__(
        self,
        fast_path: FastPath,
        connection: Connection,
        scope: Scope,
        started: float,
        request_id: str,
        instances: Sequence[Instance],
    ) -> None:
        super().__init__(request_id, instances)
        self._fast_path = fast_path
        self.connection = connection
        self.scope = scope
        self.started = started
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    def succeed(self) -> None:
        """Write the response."""
        result = self.result()
        try:
            if not self._fast_path.try_respond(self, result):
                self._forward(result)
        except Exception as error:  # noqa: BLE001 - the others of its batch are not affected
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Let the application write the error response."""
        if self.response_complete:
            log.error("request failed after its response", exc_info=error, extra=fields(request_id=self.request_id))
        else:
            self._fast_path.mirror_failure(self, error)
            self._forward(error)

    def _forward(self, outcome: PredictionResult | Exception) -> None:
        state = self.scope["state"]
        state[STARTED] = self.started
        state[OUTCOME] = outcome
        # From now on it is the application's, whatever else happens here.
        self.response_complete = True
        self.connection.forward_to_application(self.scope, self._fast_path.path, self)
