"""POST /v1/predict from the last byte of its body to its answer, without a task of its own.

A task for each request, the coroutines in it and the futures that they wait for cost as much as the prediction. A good
request needs none of them: it asks together with the others of its turn, and what serves these writes its answer.
Whatever is unusual about a request or does not end well is left to the application (edge.py), which says all that is
not a good answer, here or there.
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

from iris_inference import parsing
from iris_inference.asks import Answer, Ask
from iris_inference.auth.identity import Scope as Need
from iris_inference.body import JSON, headers_of
from iris_inference.logs import fields
from iris_inference.render import Renderer
from iris_inference.request_ids import RequestIds
from iris_inference.request_log import RequestLog
from iris_inference.routing import Room
from iris_inference.runtime import InferenceError, Instance
from iris_inference.whole_answers import WholeAnswers

log = logging.getLogger(__name__)

PREDICT_PATH: Final = "/v1/predict"
# In a request's state, when it was begun here and is left to the application: since when it is served, by
# `time.perf_counter`, and its Answer, or the exception that it ends with.
STARTED: Final = "started"
OUTCOME: Final = "outcome"

_JSON: Final = JSON.encode()
_OK: Final = HTTPStatus.OK.value
# Requests with one of these are for uvicorn and the application to understand.
_UNUSUAL: Final = frozenset({b"content-encoding", b"expect", b"transfer-encoding", b"upgrade"})


class Connection(Protocol):
    """What a request is read from and its answer written to: uvicorn's own, and how to leave a request to it."""

    cycle: Any
    parser: Any
    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    def on_response_complete(self) -> None:
        """The answer is written."""
        ...

    def hand_over(self, scope: Scope, path: str, begun: "Exchange | None" = None) -> None:
        """Have the application answer a request that was taken, and perhaps begun, without it."""
        ...


class HotRoute:
    """Serves the requests of one server that need nothing unusual."""

    def __init__(
        self, room: Room, ids: RequestIds, whole: WholeAnswers, request_log: RequestLog, path: str = PREDICT_PATH
    ) -> None:
        """`path` is where the application answers what is left to it."""
        self.path = path
        self._room = room
        self._ids = ids
        self._whole = whole
        self._log = request_log
        self._max_bytes = room.settings.max_body_bytes
        self._render = Renderer(room.manifest, room.settings.revision).answer

    def take(self, connection: Connection, scope: Scope, body: bytes) -> bool:
        """Serve a request to PREDICT_PATH that is here. False: nothing was done, because it is no case for this."""
        room = self._room
        headers = headers_of(scope)
        if (
            room.predictions is None
            or room.lifecycle.draining
            or not _UNUSUAL.isdisjoint(headers)
            or headers.get(b"content-type", _JSON) != _JSON
            or len(body) > self._max_bytes
            # uvicorn keeps no connection of HTTP/1.0, whatever the client asks for.
            or (b"connection" in headers and connection.parser.get_http_version() != "1.1")
        ):
            return False
        started = time.perf_counter()
        request_id = self._ids.of(headers.get(b"x-request-id"))
        state = scope["state"]
        state["headers"] = headers
        state["request_id"] = request_id
        try:
            room.guard.check(scope, Need.PREDICT)
            exchange = Exchange(self, connection, scope, started, request_id, parsing.instances(body))
        except Exception as error:  # noqa: BLE001 - the application answers each, and tells of what nobody thought of
            state[STARTED] = started
            state[OUTCOME] = error
            connection.hand_over(scope, self.path)
        else:
            connection.cycle = exchange
            room.predictions.ask(exchange)
        return True

    def answer(self, exchange: "Exchange", answer: Answer) -> bool:
        """Write a good answer. False: nothing was done, because it cannot be written in one piece."""
        connection = exchange.connection
        is_gone = exchange.disconnected or connection.transport.is_closing()
        if not is_gone and not self._can_write(exchange):
            return False
        state = exchange.scope["state"]
        request_id = exchange.request_id
        body = self._render(request_id, answer.predictions)
        whole = self._whole.bytes_of(connection.server_state.default_headers, request_id, body)
        exchange.response_complete = True
        if not is_gone:
            connection.transport.write(whole)
            connection.on_response_complete()
        seconds = time.perf_counter() - exchange.started
        self._room.metrics.request(_OK, seconds, answer.source)
        if self._log.tells_requests:
            state["answer"] = answer
            self._log.write("POST", PREDICT_PATH, _OK, seconds, state)
        if self._room.mirror.on:
            self._room.mirror.offer(state, answer.instances, answer.predictions)
        return True

    def failed(self, exchange: "Exchange", error: Exception) -> None:
        """A request ends otherwise, which the application will say."""
        if self._room.mirror.on and isinstance(error, InferenceError):
            self._room.mirror.offer(exchange.scope["state"], exchange.instances, None)

    def _can_write(self, exchange: "Exchange") -> bool:
        return exchange.keep_alive and not exchange.connection.flow.write_paused and not self._room.lifecycle.draining


class Exchange(Ask):
    """A request that is served. uvicorn has it in the place of its own cycle of request and response."""

    __slots__ = ("_route", "connection", "disconnected", "keep_alive", "response_complete", "scope", "started")
    # Where uvicorn says that something has arrived or ended. Nobody waits for that.
    message_event: ClassVar = asyncio.Event()

    def __init__(
        self,
        route: HotRoute,
        connection: Connection,
        scope: Scope,
        started: float,
        request_id: str,
        instances: Sequence[Instance],
    ) -> None:
        super().__init__(request_id, instances)
        self._route = route
        self.connection = connection
        self.scope = scope
        self.started = started
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    def succeed(self) -> None:
        """Answer it."""
        answer = self.result()
        try:
            if not self._route.answer(self, answer):
                self._hand_over(answer)
        except Exception as error:  # noqa: BLE001 - the others of its group have nothing to do with it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Have the application say why there is no answer."""
        if self.response_complete:
            log.error("request failed behind its answer", exc_info=error, extra=fields(request_id=self.request_id))
        else:
            self._route.failed(self, error)
            self._hand_over(error)

    def _hand_over(self, outcome: Answer | Exception) -> None:
        state = self.scope["state"]
        state[STARTED] = self.started
        state[OUTCOME] = outcome
        # It is the application's now, whatever else comes of it here.
        self.response_complete = True
        self.connection.hand_over(self.scope, self._route.path, self)
