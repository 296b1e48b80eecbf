"""Field types that several parts of the spec use, and their validation rules in CEL."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from iris_operator.api.durations import DURATION_PATTERN, MAX_HOURS, parse_duration

# Validation rules in CEL, evaluated by the API server at admission. `api.crd` copies the key into the CRD.
CEL = "x-kubernetes-validations"


def cel_rule(rule: str, message: str) -> dict[str, Any]:
    """Schema extras that make the API server evaluate `rule` and refuse an object with `message`."""
    return cel_rules((rule, message))


def cel_rules(*rules: tuple[str, str]) -> dict[str, Any]:
    """The same for several rules, each with its message."""
    return {CEL: [{"rule": rule, "message": message} for rule, message in rules]}


def check_duration(text: str) -> str:
    """Validator of a duration; `ValueError` when it is none."""
    parse_duration(text)
    return text


# RE2: so many digits that no sum of 32 characters overflows the API server's durations.
_BOUNDED = "^([0-9]{1,7}ms|[0-9]{1,7}s|[0-9]{1,6}m|[0-9]{1,4}h)+$"


def _duration(shortest: str) -> Any:
    """A duration with bounds; `shortest` may be empty."""
    least = f" && duration(self) >= duration('{shortest}')" if shortest else ""
    between = f"between {shortest} and" if shortest else "at most"
    return Field(
        max_length=32,
        json_schema_extra=cel_rules(
            (f"self.matches('{DURATION_PATTERN}')", "must be a duration such as 30s, 5m or 1h30m"),
            (
                (
                    f"!self.matches('{DURATION_PATTERN}') || (self.matches('{_BOUNDED}')"
                    f" && duration(self) <= duration('{MAX_HOURS}h'){least})"
                ),
                f"must be {between} {MAX_HOURS}h, which is 30 days",
            ),
        ),
    )


Duration = Annotated[str, _duration("")]
Interval = Annotated[str, _duration("100ms")]
