"""The outermost layer: request ids, the headers of every answer, the request's log line and its metrics."""

import logging
import re
import time
from typing import Final
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iris_inference.artifact import Manifest
from iris_inference.lifecycle import Lifecycle
from iris_inference.logs import fields
from iris_inference.schemas import REQUEST_ID_PATTERN
from iris_inference.telemetry import Metrics

log = logging.getLogger(__name__)

PREDICT_PATH: Final = "/v1/predict"
# Probes come every few seconds for ever and say nothing that the readiness of the pod does not.
_PROBE_PATHS: Final = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
_REQUEST_ID: Final = re.compile(REQUEST_ID_PATTERN)


class Edge:
    """Wraps the whole application, its error handlers included, so that nothing is answered without passing here."""

    def __init__(self, app: ASGIApp, metrics: Metrics, lifecycle: Lifecycle, manifest: Manifest) -> None:
        self._app = app
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._version = manifest.version.encode()
        self._model_path = f"/v2/models/{manifest.name}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 500
        failure: Exception | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:  # noqa: BLE001 - the error handlers have answered; here it is only told
            failure = error
        finally:
            self._finish(scope, status, time.perf_counter() - started, failure)

    def _headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", request_id.encode()), (b"x-model-version", self._version)]
        if self._lifecycle.draining:
            # The client opens its next connection elsewhere instead of losing a request on this one.
            headers.append((b"connection", b"close"))
        return headers

    def _finish(self, scope: Scope, status: int, seconds: float, failure: Exception | None) -> None:
        path: str = scope["path"]
        # A client that names another version than this one is counted too: during a rollout that is news.
        if path == PREDICT_PATH or (path.startswith(self._model_path) and path.endswith("/infer")):
            self._metrics.request(status, seconds)
        level = logging.DEBUG if path in _PROBE_PATHS else logging.INFO
        if failure is None and not log.isEnabledFor(level):
            return
        state = scope["state"]
        told = {name: state[name] for name in ("user", "key_id", "cache", "instances", "failure") if name in state}
        log.log(
            logging.ERROR if failure else level,
            "request failed unexpectedly" if failure else "request",
            exc_info=failure,
            extra=fields(
                request_id=state["request_id"],
                method=scope["method"],
                route=_route(scope),
                status=status,
                latency_ms=round(seconds * 1_000, 3),
                model_version=self._version.decode(),
                **told,
            ),
        )


def _request_id(scope: Scope) -> str:
    """The client's X-Request-ID when it is harmless, a new one otherwise: it ends in logs and in the database."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return given
            break
    return uuid4().hex


def _route(scope: Scope) -> str:
    """The route's template, or a fixed word for unknown paths, whose number has no bound."""
    route = scope.get("route")
    return getattr(route, "path", "unknown")
