"""The HTTP API: routes, and nothing that is not about HTTP."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from iris_inference import inference_protocol
from iris_inference.auth.identity import Scope
from iris_inference.body import JSON, read_json
from iris_inference.docs_page import add_docs
from iris_inference.document import describe
from iris_inference.edge import Edge
from iris_inference.exchange import PREDICT_PATH
from iris_inference.logs import Lines
from iris_inference.predict import Predict
from iris_inference.problems import (
    ProblemError,
    answer_gone,
    answer_http_exception,
    answer_problem,
    answer_unexpected,
)
from iris_inference.request_log import RequestLog
from iris_inference.routing import Room, json_answer, problems, request_body, require_ready
from iris_inference.schemas import FeedbackRequest, FeedbackResponse, Health, PredictRequest, PredictResponse
from iris_inference.shadow.door import Doors
from iris_inference.shadow.side import Shadow

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(room: Room, shadow: Shadow, lines: Lines, lifespan: Lifespan | None = None) -> Doors:
    """The application that a server runs: the API inside the layer that marks, logs and counts every answer."""
    predict = Predict(room)
    api = create_api(room, predict, lifespan)
    edge = Edge(api, predict, room, RequestLog(lines, room.manifest, room.settings))
    return Doors(edge, shadow.edge(api, room, lines))


def create_api(room: Room, predict: Predict, lifespan: Lifespan | None = None) -> FastAPI:
    """The routes with their OpenAPI document."""
    api = FastAPI(
        title="Iris predictions",
        description="Predicts the species of an Iris flower from four lengths in centimetres.",
        version=room.manifest.version,
        lifespan=lifespan,
        # Both would come from a CDN.
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            ProblemError: answer_problem,
            HTTPException: answer_http_exception,
            ClientDisconnect: answer_gone,
            Exception: answer_unexpected,
        },
    )
    _add_probes(api, room)
    _add_predict(api, room, predict)
    _add_feedback(api, room)
    api.include_router(inference_protocol.router(room))
    add_docs(api)
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


def _add_predict(api: FastAPI, room: Room, predict: Predict) -> None:
    @api.post(
        PREDICT_PATH,
        tags=["predictions"],
        response_model=PredictResponse,
        responses=problems(408, 413, 415, 422, 500, 503, *room.guard.statuses),
        openapi_extra=request_body(PredictRequest) | room.guard.described(Scope.PREDICT),
        summary="Predict the species of one or many flowers",
    )
    async def route(request: Request) -> Response:
        return Response(await predict.predict(request.scope, request.receive), media_type=JSON)


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
        room.guard.check(request.scope, Scope.FEEDBACK)
        body = await read_json(request, FeedbackRequest, settings.max_body_bytes, settings.body_seconds)
        outcome = await room.feedback.add(body.request_id, body.instance, body.label)
        return json_answer({"request_id": body.request_id, "instance": body.instance, "outcome": outcome})
