"""The OpenAPI document: what FastAPI makes of the routes, and what only we know of them.

It belongs to one model: the labels, the model's name and its version are those of this pod.
"""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from iris_inference.artifact import Manifest
from iris_inference.auth.guard import Guard
from iris_inference.schemas import REQUEST_ID_PATTERN, FeedbackRequest, PredictRequest, Problem
from iris_inference.tensors import InferRequest

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


def describe(api: FastAPI, manifest: Manifest, guard: Guard) -> None:
    """Complete the document of `api`."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema:
            return api.openapi_schema
        # FastAPI keeps the document and hands out the same one, so it is completed once.
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
            for answer in operation["responses"].values():
                answer["headers"] = {**answer.get("headers", {}), **_HEADERS}
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
