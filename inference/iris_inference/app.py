"""The HTTP API: routes, and nothing that is not about HTTP."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from iris_inference import inference_protocol
from iris_inference.auth.identity import Scope
from iris_inference.body import read_json
from iris_inference.document import describe
from iris_inference.edge import PREDICT_PATH, Edge
from iris_inference.problems import ProblemError, answer_http_exception, answer_problem, answer_unexpected
from iris_inference.routing import (
    Room,
    inference_failed,
    json_answer,
    not_ready,
    problems,
    request_body,
    require_ready,
)
from iris_inference.runtime import InferenceError, Prediction
from iris_inference.schemas import FeedbackRequest, FeedbackResponse, Health, PredictRequest, PredictResponse

CLIENT_CLOSED_REQUEST: Final = 499
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(room: Room, lifespan: Lifespan) -> Edge:
    """The application that a server runs: the API inside the layer that marks, logs and counts every answer."""
    return Edge(create_api(room, lifespan), room.metrics, room.lifecycle, room.manifest)


def create_api(room: Room, lifespan: Lifespan | None = None) -> FastAPI:
    """The routes with their OpenAPI document."""
    api = FastAPI(
        title="Iris predictions",
        description="Predicts the species of an Iris flower from four lengths in centimetres.",
        version=room.manifest.version,
        lifespan=lifespan,
        redoc_url=None,
        exception_handlers={
            ProblemError: answer_problem,
            HTTPException: answer_http_exception,
            ClientDisconnect: _client_is_gone,
            Exception: answer_unexpected,
        },
    )
    _add_probes(api, room)
    _add_predict(api, room)
    _add_feedback(api, room)
    api.include_router(inference_protocol.router(room))
    describe(api, room.manifest, room.guard)
    return api


def _add_probes(api: FastAPI, room: Room) -> None:
    @api.get("/healthz", tags=["health"], response_model=Health, summary="Is the process alive?")
    async def healthz() -> Response:
        return json_answer({"status": "alive"})

    @api.get(
        "/readyz",
        tags=["health"],
        response_model=Health,
        responses=problems(503),
        summary="Is the model loaded, and may new requests come?",
    )
    async def readyz() -> Response:
        require_ready(room)
        return json_answer({"status": "ready"})


def _add_predict(api: FastAPI, room: Room) -> None:
    settings = room.settings
    classes = room.manifest.classes
    identity = {"name": room.manifest.name, "version": room.manifest.version, "revision": settings.revision}

    def rendered(prediction: Prediction) -> dict[str, Any]:
        return {
            "label": classes[prediction.class_index],
            "class": prediction.class_index,
            "probabilities": dict(zip(classes, prediction.probabilities, strict=True)),
        }

    @api.post(
        PREDICT_PATH,
        tags=["predictions"],
        response_model=PredictResponse,
        responses=problems(408, 413, 415, 422, 500, 503, *room.guard.statuses),
        openapi_extra=request_body(PredictRequest) | room.guard.described(Scope.PREDICT),
        summary="Predict the species of one or many flowers",
    )
    async def predict(request: Request) -> Response:
        room.guard.check(request, Scope.PREDICT)
        body = await read_json(request, PredictRequest, settings.max_body_bytes, settings.body_seconds)
        # Draining is no reason to refuse: who still sends requests here has not heard of it yet.
        if room.predictions is None:
            raise not_ready(room)
        request_id: str = request.state.request_id
        request.state.instances = len(body.instances)
        try:
            answer = await room.predictions.predict(request_id, body.vectors())
        except InferenceError as error:
            request.state.failure = {"reason": error.reason, "detail": error.detail}
            raise inference_failed(error) from error
        request.state.cache = answer.source
        return json_answer(
            {
                "request_id": request_id,
                "model": identity,
                "predictions": [rendered(prediction) for prediction in answer.predictions],
            }
        )


def _add_feedback(api: FastAPI, room: Room) -> None:
    settings = room.settings

    @api.post(
        "/v1/feedback",
        tags=["predictions"],
        response_model=FeedbackResponse,
        responses=problems(404, 408, 409, 413, 415, 422, 503, *room.guard.statuses),
        openapi_extra=request_body(FeedbackRequest) | room.guard.described(Scope.FEEDBACK),
        summary="Send the true species of a flower that was predicted earlier",
    )
    async def feedback(request: Request) -> Response:
        room.guard.check(request, Scope.FEEDBACK)
        body = await read_json(request, FeedbackRequest, settings.max_body_bytes, settings.body_seconds)
        outcome = await room.feedback.add(body.request_id, body.instance, body.label)
        return json_answer({"request_id": body.request_id, "instance": body.instance, "outcome": outcome})


async def _client_is_gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this; the status is for the log and the metrics, where it must not look like our error."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)
