"""Schemas of the parts of a pod that a release hands on: env, envFrom, resources and imagePullSecrets.

As Kubernetes has them, because server-side apply answers their mistakes with a 500, which looks like an outage. They
only validate: there is no default in them, so that what is stored, and with it a revision's hash, stays as it is.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from iris_operator.api.fields import cel_rules

VERBATIM: Final = "x-verbatim"
"""Key of a schema that `api.crd` copies as it is, without defaults for nested objects."""

_Schema = dict[str, Any]
# Set by the operator on the same container, which would have them twice.
_RESERVED_ENV = ("IRIS_REVISION", "IRIS_PORT", "IRIS_METRICS_PORT", "IRIS_SHADOW_FILE")
_MAX_RESOURCES = 10
_NUMBER = r"(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
_QUANTITY: _Schema = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "maxLength": 32,
    "pattern": rf"^(\+|-)?{_NUMBER}(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?{_NUMBER}))?$",
}
_FIELD_PATH = (
    r"^(metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])|spec\.(nodeName|serviceAccountName)"
    r"|status\.(hostIP|hostIPs|podIP|podIPs))$"
)


def _text(longest: int, *, pattern: str = "", shortest: int = 1) -> _Schema:
    schema: _Schema = {"type": "string", "maxLength": longest}
    return schema | ({"minLength": shortest} if shortest else {}) | ({"pattern": pattern} if pattern else {})


def _object(required: tuple[str, ...] = (), **properties: _Schema) -> _Schema:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _one_of(*fields: str) -> tuple[str, str]:
    present = ", ".join(f"has(self.{field})" for field in fields)
    return f"[{present}].exists_one(given, given)", f"must have exactly one of {', '.join(fields)}"


_NAME = _text(253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_KEY = _text(253, pattern=r"^[-._a-zA-Z0-9]+$")
_OPTIONAL: _Schema = {"type": "boolean"}
_REFERENCE = _object(("name",), name=_NAME, optional=_OPTIONAL)
_KEY_REFERENCE = _object(("name", "key"), name=_NAME, key=_KEY, optional=_OPTIONAL)
_SOURCES: dict[str, _Schema] = {
    "secretKeyRef": _KEY_REFERENCE,
    "configMapKeyRef": _KEY_REFERENCE,
    "fieldRef": _object(("fieldPath",), apiVersion=_text(32), fieldPath=_text(400, pattern=_FIELD_PATH)),
    "resourceFieldRef": _object(
        ("resource",),
        containerName=_text(63, shortest=0),
        resource=_text(253, pattern=r"^(limits|requests)\.[-./a-zA-Z0-9]+$"),
        divisor=_QUANTITY,
    ),
    "fileKeyRef": _object(
        ("volumeName", "path", "key"),
        volumeName=_text(63),
        path=_text(4096),
        key=_text(253),
        optional=_OPTIONAL,
    ),
}
_VARIABLE_NAME = _text(253, pattern=r"^[ -<>-~]+$") | cel_rules(
    (f"!(self in {list(_RESERVED_ENV)})", "is set by the operator itself: take it out of env")
)
_VARIABLE = _object(
    ("name",),
    name=_VARIABLE_NAME,
    value=_text(32768, shortest=0),
    valueFrom=_object((), **_SOURCES) | cel_rules(_one_of(*_SOURCES)),
) | cel_rules(
    (
        "!(has(self.valueFrom) && has(self.value) && self.value != '')",
        "must have value or valueFrom, not both: take one of them out",
    )
)
_ENV_SOURCE = _object(prefix=_text(253, shortest=0), configMapRef=_REFERENCE, secretRef=_REFERENCE) | cel_rules(
    _one_of("configMapRef", "secretRef")
)
_QUANTITIES: _Schema = {"type": "object", "maxProperties": _MAX_RESOURCES, "additionalProperties": _QUANTITY}
_REQUESTS_WITHIN_LIMITS = cel_rules(
    (
        (
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
            "quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)"
        ),
        "must not request more than the limit: raise limits, or lower requests",
    )
)
_CLAIMS: _Schema = {
    "type": "array",
    "maxItems": 16,
    "items": _object(("name",), name=_text(63), request=_text(63, shortest=0)),
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
}


def _by_name(item: _Schema) -> _Schema:
    """A list in which a name stands once."""
    return {"items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


def _verbatim(schema: _Schema) -> Any:
    return Field(json_schema_extra={VERBATIM: schema})


Resources = Annotated[
    dict[str, Any],
    _verbatim(_object(requests=_QUANTITIES, limits=_QUANTITIES, claims=_CLAIMS) | _REQUESTS_WITHIN_LIMITS),
]
Environment = Annotated[list[dict[str, Any]], _verbatim({"type": "array", "maxItems": 100, **_by_name(_VARIABLE)})]
EnvironmentSources = Annotated[list[dict[str, Any]], _verbatim({"type": "array", "maxItems": 20, "items": _ENV_SOURCE})]
PullSecrets = Annotated[
    list[dict[str, Any]],
    _verbatim({"type": "array", "maxItems": 10, **_by_name(_object(("name",), name=_NAME))}),
]
