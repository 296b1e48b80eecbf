"""The line that each request leaves in the log.

It goes past `logging`, which takes as long for a line as the model for an answer. Keys and passwords cannot get into
it: of a request it holds only what is named here, never a header, a query or a body.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from iris_inference.artifact import Manifest
from iris_inference.logs import Lines
from iris_inference.service import Answer
from iris_inference.settings import Settings

LOGGER: Final = "iris_inference.requests"
# A line must stay below 16 KiB, where container runtimes cut it in two. The database has all flowers.
MOST_FLOWERS: Final = 16

_TOLD: Final = ("user", "key_id", "failure")
_encode: Final = msgspec.json.Encoder().encode


class RequestLog:
    """Writes the lines of one process. Belongs to its event loop."""

    def __init__(self, lines: Lines, manifest: Manifest, settings: Settings) -> None:
        self._lines = lines
        self._version = manifest.version
        self._classes = manifest.classes
        self._features = settings.log_features
        key = settings.log_hash_key
        secret = key.get_secret_value().encode() if key else secrets.token_bytes(32)
        self._keyed = hashlib.blake2b(key=hashlib.sha256(secret).digest(), digest_size=16)
        logger = logging.getLogger(LOGGER)
        self.tells_requests = logger.isEnabledFor(logging.INFO)
        self.tells_probes = logger.isEnabledFor(logging.DEBUG)
        self._second = 0
        self._written = ""

    def write(self, method: str, route: str, status: int, seconds: float, state: Mapping[str, Any]) -> None:
        """One request was answered. `state` is that of the request: its id, who asked, its Answer or its failure."""
        line = {
            "time": self._now(),
            "level": "INFO",
            "logger": LOGGER,
            "message": "request",
            "request_id": state["request_id"],
            "method": method,
            "route": route,
            "status": status,
            "latency_ms": round(seconds * 1_000, 3),
            "model_version": self._version,
        }
        for name in _TOLD:
            if name in state:
                line[name] = state[name]
        answer: Answer | None = state.get("answer")
        if answer is not None:
            self._tell(answer, line)
        self._lines.write_soon(_encode(line) + b"\n")

    def _tell(self, answer: Answer, line: dict[str, Any]) -> None:
        line["cache"] = answer.source
        line["instances"] = len(answer.instances)
        if self._features == "hash":
            line["features_hash"] = self._hash(answer)
        elif self._features == "full":
            line["features"] = answer.instances[:MOST_FLOWERS]
        line["predictions"] = [self._classes[found.class_index] for found in answer.predictions[:MOST_FLOWERS]]

    def _hash(self, answer: Answer) -> str:
        """The same for flowers that are the same to the model. Keyed: there are few enough flowers to try them all."""
        hashed = self._keyed.copy()
        hashed.update(b"".join(answer.packed))
        return hashed.hexdigest()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._written = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._written}.{int((now - second) * 1_000):03d}+00:00"
