"""POST /v1/predict as a plain ASGI endpoint, without FastAPI."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope

from iris_inference.api import predict_request
from iris_inference.api.body import JSON, read_body
from iris_inference.api.context import OUTCOME, AppContext, inference_failed, not_ready, record_not_kept
from iris_inference.api.predict_response import ResponseRenderer
from iris_inference.api.problems import disconnected_response, problem_response, unexpected_response
from iris_inference.auth.identity import Scope as Need
from iris_inference.errors import ProblemError
from iris_inference.model.runtime import InferenceError
from iris_inference.prediction.batch import PredictionResult
from iris_inference.recording.record import RecordNotKeptError

_ACCEPTED: Final = (JSON,)
_CONTENT_TYPE: Final = (b"content-type", JSON.encode())
_OK: Final = HTTPStatus.OK.value


class EndpointResponse(NamedTuple):
    """What to send. `failure` is the unexpected exception that led to it, if any."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    failure: Exception | None = None


class PredictEndpoint:
    """Turns a request into a response, whatever happens."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._max_bytes = context.settings.max_body_bytes
        self._body_seconds = context.settings.body_seconds
        self._render = ResponseRenderer(context.manifest, context.settings.revision).render

    async def __call__(self, scope: Scope, receive: Receive) -> EndpointResponse:
        """Respond to one request, also when it is invalid or something fails."""
        try:
            body = await self.predict(scope, receive)
        except ProblemError as error:
            return _endpoint_response(problem_response(scope, error))
        except ClientDisconnect:
            return _endpoint_response(disconnected_response())
        except Exception as error:  # noqa: BLE001 - the client gets a response and the log the stack trace
            return _endpoint_response(unexpected_response(scope), error)
        return EndpointResponse(_OK, ((b"content-length", b"%d" % len(body)), _CONTENT_TYPE), body)

    async def predict(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a successful response. Raises ProblemError or ClientDisconnect."""
        state = scope["state"]
        try:
            state["answer"] = result = await self._result(scope, receive)
            if self._context.mirror.enabled:
                self._context.mirror.enqueue(state, result.instances, result.predictions)
        except InferenceError as error:
            state["failure"] = {"reason": error.reason, "detail": error.detail}
            raise inference_failed(error) from error
        except RecordNotKeptError as error:
            raise record_not_kept(error) from error
        return self._render(state["request_id"], result.predictions)

    async def _result(self, scope: Scope, receive: Receive) -> PredictionResult:
        outcome: PredictionResult | Exception | None = scope["state"].pop(OUTCOME, None)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            return outcome
        context = self._context
        context.guard.check(scope, Need.PREDICT)
        content = await read_body(scope, receive, _ACCEPTED, self._max_bytes, self._body_seconds)
        instances = predict_request.parse_instances(content)
        # Draining is no reason to refuse: a client that still sends requests here does not know of it yet.
        if context.predictions is None:
            raise not_ready(context)
        try:
            return await context.predictions.predict(scope["state"]["request_id"], instances)
        except InferenceError:
            if context.mirror.enabled:
                context.mirror.enqueue(scope["state"], instances, None)
            raise


def _endpoint_response(response: Response, failure: Exception | None = None) -> EndpointResponse:
    return EndpointResponse(response.status_code, response.raw_headers, bytes(response.body), failure)
