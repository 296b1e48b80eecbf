"""The OpenAPI document: what FastAPI generates from the routes, and what it cannot know.

It describes one model: the labels, the model's name and its version are those of this pod.
"""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from iris_inference.api.schemas import REQUEST_ID_PATTERN, FeedbackRequest, PredictRequest, Problem
from iris_inference.api.v2.tensors import InferRequest
from iris_inference.auth.guard import Guard
from iris_inference.model.artifact import Manifest

_HEADERS: Final = {
    "X-Request-ID": {
        "description": "the request's X-Request-ID, or a new one; predictions are recorded under it",
        "required": True,
        "schema": {"type": "string", "pattern": REQUEST_ID_PATTERN},
    },
    "X-Model-Version": {
        "description": "version of the model that answered",
        "required": True,
        "schema": {"type": "string"},
    },
}


def extend_openapi(api: FastAPI, manifest: Manifest, guard: Guard) -> None:
    """Complete the document of `api`."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema:
            return api.openapi_schema
        # FastAPI caches the document and returns the same object, so it is extended once.
        document = generate()
        _, schemas = models_json_schema(
            [
                (PredictRequest, "validation"),
                (FeedbackRequest, "validation"),
                (InferRequest, "validation"),
                (Problem, "serialization"),
            ],
            ref_template="#/components/schemas/{model}",
        )
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        if guard.schemes:
            document["components"]["securitySchemes"] = dict(guard.schemes)
        document["components"]["schemas"]["FeedbackRequest"]["properties"]["label"]["enum"] = list(manifest.classes)
        for path, operation in _operations(document):
            operation["parameters"] = [*_parameters(path, manifest), *operation.get("parameters", ())]
            for response in operation["responses"].values():
                response["headers"] = {**response.get("headers", {}), **_HEADERS}
        return document

    # FastAPI's documented way to extend the document is to replace the method.
    setattr(api, "openapi", openapi)  # noqa: B010 - mypy refuses the plain assignment to a method


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation


def _parameters(path: str, manifest: Manifest) -> list[dict[str, Any]]:
    request_id = {
        "name": "X-Request-ID",
        "in": "header",
        "description": "kept when it is harmless, replaced otherwise",
        "schema": {"type": "string"},
    }
    only = {"model_name": manifest.name, "model_version": manifest.version}
    return [
        request_id,
        *(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": [value]}}
            for name, value in only.items()
            if f"{{{name}}}" in path
        ),
    ]
