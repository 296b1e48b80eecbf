"""Durations as Kubernetes users write them: `30s`, `5m`, `1h30m`, `500ms`."""

from __future__ import annotations

import re

# RE2 (the API server's CEL) and Python interpret this pattern in the same way.
DURATION_PATTERN = r"^([0-9]+(ms|s|m|h))+$"

MAX_HOURS = 720
"""The longest duration: 30 days."""

_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds in a duration such as `1h30m`. One that is longer than 30 days, as older CRDs admit it, is 30 days.

    Raises:
        ValueError: the text is not a duration; the message has examples.
    """
    if not re.match(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is no duration; write for example 30s, 5m or 1h30m")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return min(seconds, MAX_HOURS * _SECONDS["h"])


def format_duration(seconds: float) -> str:
    """Seconds as people read them, to the second: 95 -> `1m35s`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    parts = [f"{hours}h"] * bool(hours) + [f"{minutes}m"] * bool(minutes) + [f"{secs}s"] * bool(secs)
    return "".join(parts) or "0s"
