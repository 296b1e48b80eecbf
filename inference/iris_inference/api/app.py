"""The HTTP API: the routes and their exception handlers."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from iris_inference.api.body import JSON, read_json
from iris_inference.api.context import (
    PREDICT_PATH,
    AppContext,
    feedback_failed,
    json_response,
    problem_responses,
    request_body,
    require_ready,
)
from iris_inference.api.docs_page import add_docs
from iris_inference.api.openapi import extend_openapi
from iris_inference.api.predict import PredictEndpoint
from iris_inference.api.problems import (
    handle_disconnect,
    handle_http_exception,
    handle_problem,
    handle_unexpected,
)
from iris_inference.api.schemas import FeedbackRequest, FeedbackResponse, Health, PredictRequest, PredictResponse
from iris_inference.api.v2 import routes
from iris_inference.auth.identity import Scope
from iris_inference.errors import ProblemError
from iris_inference.prediction.feedback import FeedbackError

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_api(context: AppContext, predict: PredictEndpoint, lifespan: Lifespan | None = None) -> FastAPI:
    """The routes with their OpenAPI document."""
    api = FastAPI(
        title="Iris predictions",
        description="Predicts the species of an Iris flower from four lengths in centimetres.",
        version=context.manifest.version,
        lifespan=lifespan,
        # FastAPI's own pages load their scripts from a CDN.
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            ProblemError: handle_problem,
            HTTPException: handle_http_exception,
            ClientDisconnect: handle_disconnect,
            Exception: handle_unexpected,
        },
    )
    _add_probes(api, context)
    _add_predict(api, context, predict)
    _add_feedback(api, context)
    api.include_router(routes.router(context))
    add_docs(api)
    extend_openapi(api, context.manifest, context.guard)
    return api


def _add_probes(api: FastAPI, context: AppContext) -> None:
    @api.get("/healthz", tags=["health"], response_model=Health, summary="Is the process alive?")
    async def healthz() -> Response:
        return json_response({"status": "alive"})

    @api.get(
        "/readyz",
        tags=["health"],
        response_model=Health,
        responses=problem_responses(503),
        summary="Is the model loaded, and may new requests come?",
    )
    async def readyz() -> Response:
        require_ready(context)
        return json_response({"status": "ready"})


def _add_predict(api: FastAPI, context: AppContext, predict: PredictEndpoint) -> None:
    @api.post(
        PREDICT_PATH,
        tags=["predictions"],
        response_model=PredictResponse,
        responses=problem_responses(408, 413, 415, 422, 500, 503, *context.guard.statuses),
        openapi_extra=request_body(PredictRequest) | context.guard.openapi_extra(Scope.PREDICT),
        summary="Predict the species of one or many flowers",
    )
    async def route(request: Request) -> Response:
        return Response(await predict.predict(request.scope, request.receive), media_type=JSON)


def _add_feedback(api: FastAPI, context: AppContext) -> None:
    settings = context.settings

    @api.post(
        "/v1/feedback",
        tags=["predictions"],
        response_model=FeedbackResponse,
        responses=problem_responses(404, 408, 409, 413, 415, 422, 503, *context.guard.statuses),
        openapi_extra=request_body(FeedbackRequest) | context.guard.openapi_extra(Scope.FEEDBACK),
        summary="Send the true species of a flower that was predicted earlier",
    )
    async def feedback(request: Request) -> Response:
        context.guard.check(request.scope, Scope.FEEDBACK)
        body = await read_json(request, FeedbackRequest, settings.max_body_bytes, settings.body_seconds)
        try:
            outcome = await context.feedback.add(body.request_id, body.instance, body.label)
        except FeedbackError as error:
            raise feedback_failed(error) from error
        return json_response({"request_id": body.request_id, "instance": body.instance, "outcome": outcome})
