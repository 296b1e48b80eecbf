"""The HTTP API: routes, and nothing that is not about HTTP."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from iris_inference.artifact import Manifest
from iris_inference.body import read_json
from iris_inference.edge import PREDICT_PATH, Edge
from iris_inference.feedback import FeedbackService
from iris_inference.lifecycle import Lifecycle
from iris_inference.problems import (
    MEDIA_TYPE,
    ProblemError,
    answer_http_exception,
    answer_problem,
    answer_unexpected,
)
from iris_inference.runtime import InferenceError, Prediction
from iris_inference.schemas import (
    FeedbackRequest,
    FeedbackResponse,
    Health,
    PredictRequest,
    PredictResponse,
    Problem,
)
from iris_inference.service import PredictionService
from iris_inference.settings import Settings
from iris_inference.telemetry import Metrics

CLIENT_CLOSED_REQUEST: Final = 499
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(slots=True)
class Room:
    """What the routes work with. The two services are there once the model is loaded."""

    settings: Settings
    manifest: Manifest
    metrics: Metrics
    lifecycle: Lifecycle
    feedback: FeedbackService
    predictions: PredictionService | None = None


def create_app(room: Room, lifespan: Lifespan) -> Edge:
    """The application that a server runs: the API inside the layer that marks, logs and counts every answer."""
    return Edge(create_api(room, lifespan), room.metrics, room.lifecycle, room.manifest.version)


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
    _describe(api)
    return api


def _add_probes(api: FastAPI, room: Room) -> None:
    @api.get("/healthz", tags=["health"], response_model=Health, summary="Is the process alive?")
    async def healthz() -> Response:
        return _json({"status": "alive"})

    @api.get(
        "/readyz",
        tags=["health"],
        response_model=Health,
        responses=_problems(503),
        summary="Is the model loaded, and may new requests come?",
    )
    async def readyz() -> Response:
        if not room.lifecycle.ready:
            raise _not_ready(room)
        return _json({"status": "ready"})


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
        responses=_problems(408, 413, 415, 422, 500, 503),
        openapi_extra=_request_body(PredictRequest),
        summary="Predict the species of one or many flowers",
    )
    async def predict(request: Request) -> Response:
        body = await read_json(request, PredictRequest, settings.max_body_bytes, settings.body_seconds)
        # Draining is no reason to refuse: who still sends requests here has not heard of it yet.
        if room.predictions is None:
            raise _not_ready(room)
        request_id: str = request.state.request_id
        request.state.instances = len(body.instances)
        try:
            answer = await room.predictions.predict(request_id, body.vectors())
        except InferenceError as error:
            request.state.failure = {"reason": error.reason, "detail": error.detail}
            raise _inference_failed(error) from error
        request.state.cache = answer.source
        return _json(
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
        responses=_problems(404, 408, 409, 413, 415, 422, 503),
        openapi_extra=_request_body(FeedbackRequest),
        summary="Send the true species of a flower that was predicted earlier",
    )
    async def feedback(request: Request) -> Response:
        body = await read_json(request, FeedbackRequest, settings.max_body_bytes, settings.body_seconds)
        outcome = await room.feedback.add(body.request_id, body.instance, body.label)
        return _json({"request_id": body.request_id, "instance": body.instance, "outcome": outcome})


def _json(content: dict[str, Any]) -> Response:
    return Response(to_json(content), media_type="application/json")


def _not_ready(room: Room) -> ProblemError:
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not-ready",
        f"the service is {room.lifecycle.phase}",
        headers={"Retry-After": "1"},
    )


def _inference_failed(error: InferenceError) -> ProblemError:
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"inference-failed:{error.reason}",
        f"the model did not answer: {error.reason}",
    )


async def _client_is_gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this; the status is for the log and the metrics, where it must not look like our error."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def _request_body(model: type[PredictRequest | FeedbackRequest]) -> dict[str, Any]:
    schema = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": schema}}}


def _describe(api: FastAPI) -> None:
    """Add the types that the routes read and raise themselves to the OpenAPI document that FastAPI makes."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        _, schemas = models_json_schema(
            [(PredictRequest, "validation"), (FeedbackRequest, "validation"), (Problem, "serialization")],
            ref_template="#/components/schemas/{model}",
        )
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        return document

    # FastAPI's documented way to extend the document is to replace the method.
    setattr(api, "openapi", openapi)  # noqa: B010 - mypy refuses the plain assignment to a method
