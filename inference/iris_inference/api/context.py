"""What the routes share: the application's context, responses and problems, and parts of the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

from fastapi import Response
from pydantic_core import to_json

from iris_inference.api.problems import MEDIA_TYPE
from iris_inference.auth.guard import Guard
from iris_inference.errors import ProblemError
from iris_inference.lifecycle import Lifecycle
from iris_inference.model.artifact import Manifest
from iris_inference.model.runtime import InferenceError
from iris_inference.prediction.feedback import (
    ContradictingFeedbackError,
    FeedbackError,
    FeedbackService,
    InvalidLabelError,
    UnknownPredictionError,
)
from iris_inference.prediction.mirror import RequestMirror
from iris_inference.prediction.service import PredictionService
from iris_inference.recording.record import RecordNotKeptError
from iris_inference.settings import Settings

PREDICT_PATH: Final = "/v1/predict"
# In the state of a request that the fast path forwards to the application: when it started, by `time.perf_counter`, and
# its PredictionResult or the exception that it failed with.
STARTED: Final = "started"
OUTCOME: Final = "outcome"


class RequestCounts(Protocol):
    """Counts responses."""

    def request(self, code: int, seconds: float, source: str | None) -> None:
        """One prediction request was answered, from `source`: one of `cache.SOURCES`, None without a prediction."""
        ...


@dataclass(slots=True)
class AppContext:
    """What the routes depend on. `predictions` is set once the model is loaded."""

    settings: Settings
    manifest: Manifest
    metrics: RequestCounts
    lifecycle: Lifecycle
    feedback: FeedbackService
    guard: Guard
    mirror: RequestMirror
    predictions: PredictionService | None = None


def json_response(content: Mapping[str, Any]) -> Response:
    """A successful response."""
    return Response(to_json(content), media_type="application/json")


def not_ready(context: AppContext) -> ProblemError:
    """The problem while the model is loading, or after the process was told to stop."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not-ready",
        f"the service is {context.lifecycle.phase}",
        headers={"Retry-After": "1"},
    )


def require_ready(context: AppContext) -> None:
    """Raise ProblemError with the reason while the service is not ready."""
    if not context.lifecycle.ready:
        raise not_ready(context)
    if not context.guard.ready:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            "the API keys were not read yet: the database does not answer, or lacks its tables",
            headers={"Retry-After": "1"},
        )


def inference_failed(error: InferenceError) -> ProblemError:
    """The problem for a failed inference. The detail stays in the log: it may reveal internals of the model."""
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"inference-failed:{error.reason}",
        f"the model did not answer: {error.reason}",
    )


def record_not_kept(error: RecordNotKeptError) -> ProblemError:
    """The problem for a prediction whose record would be lost."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "record-not-kept",
        f"the prediction is not given because its record could not be kept: {error}",
        headers={"Retry-After": "5"},
    )


def feedback_failed(error: FeedbackError) -> ProblemError:
    """The problem for a true label that was not accepted."""
    match error:
        case InvalidLabelError():
            return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"label: {error}")
        case UnknownPredictionError():
            return ProblemError(HTTPStatus.NOT_FOUND, "unknown-prediction", str(error))
        case ContradictingFeedbackError():
            return ProblemError(HTTPStatus.CONFLICT, "contradicting-feedback", str(error))
        case _:
            return ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "feedback-unavailable",
                f"feedback cannot be kept now: {error}; send it again later",
                headers={"Retry-After": "5"},
            )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for its `responses`."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def request_body(model: type, **others: Mapping[str, Any]) -> dict[str, Any]:
    """The request body of a route that parses it itself, for its `openapi_extra`; `others` are further media types."""
    schema = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": schema, **others}}}
