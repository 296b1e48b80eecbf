"""POST /v1/predict, without a framework around it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope

from iris_inference import parsing
from iris_inference.asks import Answer
from iris_inference.auth.identity import Scope as Need
from iris_inference.body import JSON, read_body
from iris_inference.exchange import OUTCOME
from iris_inference.problems import ProblemError, gone, problem, unexpected
from iris_inference.render import Renderer
from iris_inference.routing import Room, inference_failed, not_ready
from iris_inference.runtime import InferenceError

_ACCEPTED: Final = (JSON,)
_CONTENT_TYPE: Final = (b"content-type", JSON.encode())
_OK: Final = HTTPStatus.OK.value


class Answered(NamedTuple):
    """What to send. `failure` is what nobody thought of, when that is why."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    failure: Exception | None = None


class Predict:
    """The endpoint: from a request to the answer that it gets, whatever happens."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._max_bytes = room.settings.max_body_bytes
        self._seconds = room.settings.body_seconds
        self._render = Renderer(room.manifest, room.settings.revision).answer

    async def __call__(self, scope: Scope, receive: Receive) -> Answered:
        """Answer one request, also when it is wrong or something fails."""
        try:
            body = await self.predict(scope, receive)
        except ProblemError as error:
            return _answered(problem(scope, error))
        except ClientDisconnect:
            return _answered(gone())
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the stack
            return _answered(unexpected(scope), error)
        return Answered(_OK, ((b"content-length", b"%d" % len(body)), _CONTENT_TYPE), body)

    async def predict(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a good answer. Raises ProblemError or ClientDisconnect."""
        state = scope["state"]
        try:
            state["answer"] = answer = await self._answer(scope, receive)
            if self._room.mirror.on:
                self._room.mirror.offer(state, answer.instances, answer.predictions)
        except InferenceError as error:
            state["failure"] = {"reason": error.reason, "detail": error.detail}
            raise inference_failed(error) from error
        return self._render(state["request_id"], answer.predictions)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        outcome: Answer | Exception | None = scope["state"].pop(OUTCOME, None)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            return outcome
        room = self._room
        room.guard.check(scope, Need.PREDICT)
        content = await read_body(scope, receive, _ACCEPTED, self._max_bytes, self._seconds)
        instances = parsing.instances(content)
        # Draining is no reason to refuse: who still sends requests here has not heard of it yet.
        if room.predictions is None:
            raise not_ready(room)
        try:
            return await room.predictions.predict(scope["state"]["request_id"], instances)
        except InferenceError:
            if room.mirror.on:
                room.mirror.offer(scope["state"], instances, None)
            raise


def _answered(response: Response, failure: Exception | None = None) -> Answered:
    return Answered(response.status_code, response.raw_headers, bytes(response.body), failure)
