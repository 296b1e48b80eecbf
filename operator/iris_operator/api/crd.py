"""The CustomResourceDefinition, generated from the types.

`python -m iris_operator.api.crd` prints it; `make crds` writes it, and a golden test fails when file and types differ.
Pydantic generates JSON Schema; the API server requires a structural schema: no references, no nulls, no titles,
and a default on every nested object, because defaults inside an absent object are not applied.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from iris_operator.api import names
from iris_operator.api.fields import CEL
from iris_operator.api.pod_fields import VERBATIM
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import NOT_OBSERVED, ReleaseStatus

_KEPT = {
    "type",
    "description",
    "properties",
    "required",
    "items",
    "enum",
    "pattern",
    "format",
    "default",
    "additionalProperties",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
}

_COLUMNS = [
    ("Phase", "string", ".status.phase", 0),
    ("Stable", "string", ".status.stable.version", 0),
    ("Canary", "string", ".status.canary.version", 0),
    ("Weight", "integer", ".status.weight", 0),
    ("Step", "string", ".status.stepText", 0),
    ("Verdict", "string", ".status.verdictText", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Promoted")].message', 1),
]


def _structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """One JSON Schema node as a structural schema node, references resolved."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return _structural({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    if "anyOf" in schema:  # Optional[T]: absent means null to the API server
        (choice,) = [option for option in schema["anyOf"] if option.get("type") != "null"]
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        optional = _structural({**choice, **rest}, definitions)
        # A default would make it present, but an optional object that is absent is off.
        optional.pop("default", None)
        return optional
    if VERBATIM in schema:
        return {"description": schema["description"], **schema[VERBATIM]}
    node = {key: value for key, value in schema.items() if key in _KEPT or key.startswith("x-kubernetes-")}
    if "const" in schema:
        node["enum"] = [schema["const"]]
    _write_exclusive_bounds(node)
    _convert_map(node, definitions)
    if "properties" in node:
        node["properties"] = {name: _structural(child, definitions) for name, child in node["properties"].items()}
        if "required" not in node and not schema.get("x-root"):
            node.setdefault("default", {})
    if "items" in node:
        node["items"] = _structural(node["items"], definitions)
        node["items"].pop("default", None)
    return node


def _write_exclusive_bounds(node: dict[str, Any]) -> None:
    """OpenAPI v3.0 writes an exclusive bound as a flag beside the bound."""
    for bound in ("Minimum", "Maximum"):
        limit = node.pop(f"exclusive{bound}", None)
        if limit is not None:
            node[bound.lower()], node[f"exclusive{bound}"] = limit, True


def _convert_map(node: dict[str, Any], definitions: dict[str, Any]) -> None:
    """A map keeps the schema of its values; a Kubernetes object that is passed through has none."""
    values = node.pop("additionalProperties", None)
    if isinstance(values, dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        node["additionalProperties"] = _structural(values, definitions)


def _drop_defaults(node: dict[str, Any]) -> dict[str, Any]:
    """Remove defaults: the operator writes the complete status, and a default would be an observation nobody made."""
    node.pop("default", None)
    node.pop("required", None)
    for child in node.get("properties", {}).values():
        _drop_defaults(child)
    if "items" in node:
        _drop_defaults(node["items"])
    if "x-kubernetes-list-map-keys" in node:
        node["items"]["required"] = list(node["x-kubernetes-list-map-keys"])
    return node


def _schema_of(model: type[ReleaseSpec | ReleaseStatus], mode: str) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="validation" if mode == "spec" else "serialization")
    return _structural({**schema, "x-root": True}, schema.get("$defs", {}))


def custom_resource_definition() -> dict[str, Any]:
    """The CRD as an object for `kubectl apply`."""
    spec = _schema_of(ReleaseSpec, "spec")
    status = _drop_defaults(_schema_of(ReleaseStatus, "status"))
    # The one observation that can be made without the operator: that it has not seen the object yet.
    status["default"] = {"observedGeneration": NOT_OBSERVED}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "priority": priority}
                        for name, kind, path, priority in _COLUMNS
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "A model that is served, and the safe way to its next version.",
                            CEL: _NAME_RULES,
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object", "properties": {"name": _release_name_schema()}},
                                "spec": spec,
                                "status": status,
                            },
                        }
                    },
                }
            ],
        },
    }


# Only for a new release: the name of a stored one cannot be changed any more. Its derived names are longer by 30
# characters at most, `-<stable>-control-<canary>`, and a Service's by 7.
_NAME_RULES = [
    {
        "rule": f"oldSelf.hasValue() || {rule}",
        "message": message,
        "fieldPath": ".metadata.name",
        "optionalOldSelf": True,
    }
    for rule, message in (
        (
            "self.metadata.name.size() <= 50",
            "must have at most 50 characters, so that the names of its Services fit into 63",
        ),
        (
            "!self.metadata.name.matches('-(canary|control)$')",
            "must not end with -canary or -control: so the objects of a release without that ending are named",
        ),
    )
]


def _release_name_schema() -> dict[str, Any]:
    # <name>-<revision> and <name>-canary must stay valid names of Services and label values.
    return {"type": "string", "maxLength": 50, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}


def render() -> str:
    """The CRD as YAML, the text of `crds/irismodelreleases.yaml`."""
    header = "# Generated from operator/iris_operator/api by `make crds`. Change the types, not this file.\n"
    return header + yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=120)


if __name__ == "__main__":
    sys.stdout.write(render())
