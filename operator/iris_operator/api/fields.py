"""Field types that several parts of the spec use, and their validation rules in CEL."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from iris_operator.api.durations import DURATION_PATTERN, parse_duration

# Validation rules in CEL, evaluated by the API server at admission. `api.crd` copies the key into the CRD.
CEL = "x-kubernetes-validations"


def cel_rule(rule: str, message: str) -> dict[str, Any]:
    """Schema extras that make the API server evaluate `rule` and refuse an object with `message`."""
    return {CEL: [{"rule": rule, "message": message}]}


def check_duration(text: str) -> str:
    """Validator of a duration; `ValueError` when it is none."""
    parse_duration(text)
    return text


Duration = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra=cel_rule(
            f"self.matches('{DURATION_PATTERN}')", "must be a duration such as 30s, 5m or 1h30m"
        ),
    ),
]
# A nested object of Kubernetes itself, handed on to the pod as it is; the API server checks it there.
KubernetesObject = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
