"""The Open Inference Protocol, version 2, under /v2: for generic clients of many kinds of models.

It shares everything but the routes with /v1: the cache, the model, the records, the metrics and the errors, which
repeat their detail as `error`, where clients of this protocol look for it.
"""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from iris_inference.api.body import JSON, parse_json, read_body
from iris_inference.api.context import (
    AppContext,
    inference_failed,
    json_response,
    not_ready,
    problem_responses,
    record_not_kept,
    request_body,
    require_ready,
)
from iris_inference.api.v2 import tensors
from iris_inference.auth.identity import Scope
from iris_inference.errors import ProblemError
from iris_inference.model.artifact import Manifest
from iris_inference.model.runtime import InferenceError
from iris_inference.recording.record import RecordNotKeptError

SERVER_NAME: Final = "iris-inference"
OCTET_STREAM: Final = "application/octet-stream"
# The number of bytes of a binary body that are the JSON before the tensors.
JSON_LENGTH_HEADER: Final = "Inference-Header-Content-Length"
# No more digits than the size of the largest body: int() is slow for long ones.
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_BINARY_SCHEMA: Final = {"schema": {"type": "string", "format": "binary"}}

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


def router(context: AppContext) -> APIRouter:
    """The routes under /v2."""
    routes = APIRouter(prefix="/v2", tags=["open inference protocol"])
    _add_health(routes, context)
    _add_model(routes, context)
    _add_infer(routes, context)
    return routes


def _add_health(routes: APIRouter, context: AppContext) -> None:
    @routes.get("", response_model=ServerMetadata, summary="What serves here?")
    async def server() -> Response:
        extensions = ["binary_tensor_data"]
        return json_response({"name": SERVER_NAME, "version": context.manifest.version, "extensions": extensions})

    @routes.get("/health/live", response_model=Live, summary="Is the process alive?")
    async def live() -> Response:
        return json_response({"live": True})

    @routes.get("/health/ready", response_model=Ready, responses=problem_responses(503), summary="The same as /readyz")
    async def ready() -> Response:
        require_ready(context)
        return json_response({"ready": True})


def _add_model(routes: APIRouter, context: AppContext) -> None:
    metadata = _metadata(context.manifest)

    async def describe(request: Request) -> Response:
        _require_model(context, request)
        return json_response(metadata)

    async def ready(request: Request) -> Response:
        _require_model(context, request)
        require_ready(context)
        return json_response({"name": context.manifest.name, "ready": True})

    _add_model_route(
        routes,
        "GET",
        "",
        describe,
        response_model=ModelMetadata,
        responses=problem_responses(404),
        summary="The tensors that go in and come out",
    )
    _add_model_route(
        routes,
        "GET",
        "/ready",
        ready,
        response_model=ModelReady,
        responses=problem_responses(404, 503),
        summary="Is this model loaded?",
    )


def _add_infer(routes: APIRouter, context: AppContext) -> None:
    settings = context.settings
    manifest = context.manifest

    async def infer(request: Request) -> Response:
        context.guard.check(request.scope, Scope.PREDICT)
        content = await read_body(
            request.scope, request.receive, (JSON, OCTET_STREAM), settings.max_body_bytes, settings.body_seconds
        )
        _require_model(context, request)
        json_part, binary = _split_body(request, content)
        body = parse_json(json_part, tensors.InferRequest)
        instances = tensors.parse_instances(body.inputs[0], binary)
        if context.predictions is None:
            raise not_ready(context)
        request_id: str = request.state.request_id
        try:
            result = await context.predictions.predict(request_id, instances)
        except InferenceError as error:
            request.state.failure = {"reason": error.reason, "detail": error.detail}
            if context.mirror.enabled:
                context.mirror.enqueue(request.scope["state"], instances, None)
            raise inference_failed(error) from error
        except RecordNotKeptError as error:
            raise record_not_kept(error) from error
        request.state.answer = result
        if context.mirror.enabled:
            context.mirror.enqueue(request.scope["state"], instances, result.predictions)
        outputs, binary_outputs = tensors.render_outputs(body.requested_outputs(), result.predictions, manifest.classes)
        client_id = {} if body.id is None else {"id": body.id}
        return _infer_response(
            {
                "model_name": manifest.name,
                "model_version": manifest.version,
                **client_id,
                "parameters": {"request_id": request_id},
                "outputs": outputs,
            },
            binary_outputs,
        )

    _add_model_route(
        routes,
        "POST",
        "/infer",
        infer,
        response_model=tensors.InferResponse,
        responses={
            200: {
                "content": {OCTET_STREAM: _BINARY_SCHEMA},
                "headers": {JSON_LENGTH_HEADER: _length_schema("of an answer with binary tensors")},
            },
            **problem_responses(404, 408, 413, 415, 422, 500, 503, *context.guard.statuses),
        },
        openapi_extra={
            **context.guard.openapi_extra(Scope.PREDICT),
            **request_body(tensors.InferRequest, **{OCTET_STREAM: _BINARY_SCHEMA}),
            "parameters": [
                {"name": JSON_LENGTH_HEADER, "in": "header", **_length_schema("of a request with binary tensors")}
            ],
        },
        summary="Predict the species of one or many flowers",
        description=f"JSON, or JSON followed by binary tensors; {JSON_LENGTH_HEADER} then says how long the JSON is.",
    )


def _length_schema(whose: str) -> dict[str, Any]:
    described = f"bytes of JSON in front {whose}"
    return {"description": described, "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999}}


def _add_model_route(routes: APIRouter, method: str, path: str, endpoint: Endpoint, **described: Any) -> None:
    """Add a route of a model twice: without a version, and with one in the path."""
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


def _require_model(context: AppContext, request: Request) -> None:
    manifest = context.manifest
    requested = request.path_params["model_name"], request.path_params.get("model_version", manifest.version)
    if requested != (manifest.name, manifest.version):
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "unknown-model",
            f"no model {requested[0][:100]!r} in version {requested[1][:100]!r}; "
            f"this is {manifest.name!r} in version {manifest.version!r}",
        )


def _split_body(request: Request, content: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the bytes after it; None when the client does not declare any."""
    declared = request.headers.get(JSON_LENGTH_HEADER)
    if declared is None:
        return content, None
    if not _NUMBER.fullmatch(declared) or int(declared) > len(content):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"{JSON_LENGTH_HEADER} must be a number of bytes no larger than the body's {len(content)}",
        )
    return content[: int(declared)], content[int(declared) :]


def _infer_response(content: dict[str, Any], binary: bytes) -> Response:
    if not binary:
        return json_response(content)
    json_part = to_json(content)
    return Response(json_part + binary, media_type=OCTET_STREAM, headers={JSON_LENGTH_HEADER: str(len(json_part))})
