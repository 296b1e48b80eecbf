"""What the routes share: the room they work in, and how they answer and describe themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic_core import to_json

from iris_inference.artifact import Manifest
from iris_inference.auth.guard import Guard
from iris_inference.counting import RequestCounts
from iris_inference.feedback import FeedbackService
from iris_inference.lifecycle import Lifecycle
from iris_inference.problems import MEDIA_TYPE, ProblemError
from iris_inference.runtime import InferenceError
from iris_inference.service import PredictionService
from iris_inference.settings import Settings
from iris_inference.shadow.mirroring import Mirroring


@dataclass(slots=True)
class Room:
    """What the routes work with. The two services are there once the model is loaded."""

    settings: Settings
    manifest: Manifest
    metrics: RequestCounts
    lifecycle: Lifecycle
    feedback: FeedbackService
    guard: Guard
    mirror: Mirroring
    predictions: PredictionService | None = None


def json_answer(content: Mapping[str, Any]) -> Response:
    """A good answer."""
    return Response(to_json(content), media_type="application/json")


def not_ready(room: Room) -> ProblemError:
    """The problem of whoever comes before the model is loaded, or after the process was told to end."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not-ready",
        f"the service is {room.lifecycle.phase}",
        headers={"Retry-After": "1"},
    )


def require_ready(room: Room) -> None:
    """Raise ProblemError while new work is not welcome here, with the reason."""
    if not room.lifecycle.ready:
        raise not_ready(room)
    if not room.guard.ready:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            "the API keys were not read yet: the database does not answer, or lacks its tables",
            headers={"Retry-After": "1"},
        )


def inference_failed(error: InferenceError) -> ProblemError:
    """The problem for a model that did not answer. The detail stays in the log: it may show the model's inside."""
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"inference-failed:{error.reason}",
        f"the model did not answer: {error.reason}",
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its `responses`."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def request_body(model: type, **others: Mapping[str, Any]) -> dict[str, Any]:
    """The body that a route reads by itself, for its `openapi_extra`; `others` are further media types."""
    schema = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": schema, **others}}}
