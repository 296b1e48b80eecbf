"""The Open Inference Protocol, version 2, under /v2: for clients that serve many kinds of models and know no flowers.

It shares everything behind the routes with /v1: the cache, the model, the records, the metrics and the errors, which
carry their detail a second time as `error`, where clients of this protocol look for it.
"""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from iris_inference import tensors
from iris_inference.artifact import Manifest
from iris_inference.auth.identity import Scope
from iris_inference.body import JSON, parse_json, read_body
from iris_inference.problems import ProblemError
from iris_inference.routing import (
    Room,
    inference_failed,
    json_answer,
    not_ready,
    problems,
    request_body,
    require_ready,
)
from iris_inference.runtime import InferenceError

SERVER_NAME: Final = "iris-inference"
OCTETS: Final = "application/octet-stream"
# How many bytes of a binary body are the JSON in front of the tensors.
HEADER_LENGTH: Final = "Inference-Header-Content-Length"
# No more digits than the largest body has: int() takes its time with long ones.
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}

Endpoint = Callable[[Request], Awaitable[Response]]


class Live(BaseModel):
    """Whether the process is alive."""

    live: bool


class Ready(BaseModel):
    """Whether the model is loaded, and new requests may come."""

    ready: bool


class ModelReady(Ready):
    """Whether this model answers."""

    name: str


class ServerMetadata(BaseModel):
    """What serves, and which extensions of the protocol it speaks."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor; -1 in its shape is the number of flowers."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What goes into the model and what comes out of it."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def router(room: Room) -> APIRouter:
    """The routes under /v2."""
    routes = APIRouter(prefix="/v2", tags=["open inference protocol"])
    _add_health(routes, room)
    _add_model(routes, room)
    _add_infer(routes, room)
    return routes


def _add_health(routes: APIRouter, room: Room) -> None:
    @routes.get("", response_model=ServerMetadata, summary="What serves here?")
    async def server() -> Response:
        extensions = ["binary_tensor_data"]
        return json_answer({"name": SERVER_NAME, "version": room.manifest.version, "extensions": extensions})

    @routes.get("/health/live", response_model=Live, summary="Is the process alive?")
    async def live() -> Response:
        return json_answer({"live": True})

    @routes.get("/health/ready", response_model=Ready, responses=problems(503), summary="The same as /readyz")
    async def ready() -> Response:
        require_ready(room)
        return json_answer({"ready": True})


def _add_model(routes: APIRouter, room: Room) -> None:
    metadata = _metadata(room.manifest)

    async def describe(request: Request) -> Response:
        _require_model(room, request)
        return json_answer(metadata)

    async def ready(request: Request) -> Response:
        _require_model(room, request)
        require_ready(room)
        return json_answer({"name": room.manifest.name, "ready": True})

    _route(
        routes,
        "GET",
        "",
        describe,
        response_model=ModelMetadata,
        responses=problems(404),
        summary="The tensors that go in and come out",
    )
    _route(
        routes,
        "GET",
        "/ready",
        ready,
        response_model=ModelReady,
        responses=problems(404, 503),
        summary="Is this model loaded?",
    )


def _add_infer(routes: APIRouter, room: Room) -> None:
    settings = room.settings
    manifest = room.manifest

    async def infer(request: Request) -> Response:
        room.guard.check(request.scope, Scope.PREDICT)
        content = await read_body(
            request.scope, request.receive, (JSON, OCTETS), settings.max_body_bytes, settings.body_seconds
        )
        _require_model(room, request)
        head, binary = _split(request, content)
        body = parse_json(head, tensors.InferRequest)
        flowers = tensors.instances(body.inputs[0], binary)
        if room.predictions is None:
            raise not_ready(room)
        request_id: str = request.state.request_id
        try:
            answer = await room.predictions.predict(request_id, flowers)
        except InferenceError as error:
            request.state.failure = {"reason": error.reason, "detail": error.detail}
            if room.mirror.on:
                room.mirror.offer(request.scope["state"], flowers, None)
            raise inference_failed(error) from error
        request.state.answer = answer
        if room.mirror.on:
            room.mirror.offer(request.scope["state"], flowers, answer.predictions)
        outputs, behind = tensors.outputs(body.wanted(), answer.predictions, manifest.classes)
        named = {} if body.id is None else {"id": body.id}
        return _answer(
            {
                "model_name": manifest.name,
                "model_version": manifest.version,
                **named,
                "parameters": {"request_id": request_id},
                "outputs": outputs,
            },
            behind,
        )

    _route(
        routes,
        "POST",
        "/infer",
        infer,
        response_model=tensors.InferResponse,
        responses={
            200: {"content": {OCTETS: _BYTES}, "headers": {HEADER_LENGTH: _length("of an answer with binary tensors")}},
            **problems(404, 408, 413, 415, 422, 500, 503, *room.guard.statuses),
        },
        openapi_extra={
            **room.guard.described(Scope.PREDICT),
            **request_body(tensors.InferRequest, **{OCTETS: _BYTES}),
            "parameters": [{"name": HEADER_LENGTH, "in": "header", **_length("of a request with binary tensors")}],
        },
        summary="Predict the species of one or many flowers",
        description=f"JSON, or JSON followed by binary tensors; {HEADER_LENGTH} then says how long the JSON is.",
    )


def _length(whose: str) -> dict[str, Any]:
    described = f"bytes of JSON in front {whose}"
    return {"description": described, "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999}}


def _route(routes: APIRouter, method: str, path: str, endpoint: Endpoint, **described: Any) -> None:
    """Each route of a model is there twice: for the version that is served, and for one that the client names."""
    for version, name in (("", "any"), ("/versions/{model_version}", "version")):
        routes.add_api_route(
            f"/models/{{model_name}}{version}{path}",
            endpoint,
            methods=[method],
            name=f"{endpoint.__name__}_{name}",
            **described,
        )


def _metadata(manifest: Manifest) -> dict[str, Any]:
    shapes: dict[str, list[int]] = {"class": [-1], "label": [-1], "probabilities": [-1, len(manifest.classes)]}
    return {
        "name": manifest.name,
        "versions": [manifest.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": tensors.INPUT, "datatype": "FP32", "shape": [-1, tensors.WIDTH]}],
        "outputs": [
            {"name": output, "datatype": tensors.DATATYPES[output], "shape": shapes[output]}
            for output in tensors.OUTPUTS
        ],
    }


def _require_model(room: Room, request: Request) -> None:
    manifest = room.manifest
    asked = request.path_params["model_name"], request.path_params.get("model_version", manifest.version)
    if asked != (manifest.name, manifest.version):
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "unknown-model",
            f"no model {asked[0][:100]!r} in version {asked[1][:100]!r}; "
            f"this is {manifest.name!r} in version {manifest.version!r}",
        )


def _split(request: Request, content: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and what follows it; None when the client does not say that something does."""
    declared = request.headers.get(HEADER_LENGTH)
    if declared is None:
        return content, None
    if not _NUMBER.fullmatch(declared) or int(declared) > len(content):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"{HEADER_LENGTH} must be a number of bytes no larger than the body's {len(content)}",
        )
    return content[: int(declared)], content[int(declared) :]


def _answer(told: dict[str, Any], behind: bytes) -> Response:
    if not behind:
        return json_answer(told)
    head = to_json(told)
    return Response(head + behind, media_type=OCTETS, headers={HEADER_LENGTH: str(len(head))})
