"""Resources as the API server showed them, as `make pipeline` left them on the local cluster."""

from __future__ import annotations

import json
from pathlib import Path

from iris_demo.kube import Object


def recorded(name: str) -> Object:
    """A copy of that recording, to be changed at will."""
    parsed: Object = json.loads((Path(__file__).parent / "recorded" / f"{name}.json").read_text())
    return parsed
