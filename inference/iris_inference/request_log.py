"""The line that each request leaves in the log.

It goes past `logging`, which takes as long for a line as the model for an answer. Keys and passwords cannot get into
it: of a request it holds only what is named here, never a header, a query or a body.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from iris_inference.artifact import Manifest
from iris_inference.asks import Answer
from iris_inference.logs import Lines
from iris_inference.runtime import Instance
from iris_inference.settings import Settings

LOGGER: Final = "iris_inference.requests"
# A line must stay below 16 KiB, where container runtimes cut it in two. The database has all flowers.
MOST_FLOWERS: Final = 16

_encode: Final = msgspec.json.Encoder().encode


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """What is not known of a request is left out."""

    time: str
    level: str
    logger: str
    message: str
    request_id: str
    method: str
    route: str
    status: int
    latency_ms: float
    model_version: str
    user: str | None = None
    key_id: str | None = None
    failure: dict[str, Any] | None = None
    cache: str | None = None
    instances: int = 0
    features_hash: str | None = None
    features: Sequence[Instance] | None = None
    predictions: Sequence[str] | None = None


class RequestLog:
    """Writes the lines of one process. Belongs to its event loop."""

    def __init__(self, lines: Lines, manifest: Manifest, settings: Settings) -> None:
        self._lines = lines
        self._version = manifest.version
        self._classes = manifest.classes
        self._alone = [(name,) for name in manifest.classes]
        self._features = settings.log_features
        key = settings.log_hash_key
        secret = key.get_secret_value().encode() if key else secrets.token_bytes(32)
        self._keyed = hashlib.blake2b(key=hashlib.sha256(secret).digest(), digest_size=16)
        logger = logging.getLogger(LOGGER)
        self.tells_requests = logger.isEnabledFor(logging.INFO)
        self.tells_probes = logger.isEnabledFor(logging.DEBUG)
        self._second = self._millisecond = -1
        self._written_second = self._written = ""

    def write(self, method: str, route: str, status: int, seconds: float, state: Mapping[str, Any]) -> None:
        """One request was answered. `state` is that of the request: its id, who asked, its Answer or its failure."""
        get = state.get
        line = _Line(
            self._now(),
            "INFO",
            LOGGER,
            "request",
            state["request_id"],
            method,
            route,
            status,
            round(seconds * 1_000, 3),
            self._version,
            get("user"),
            get("key_id"),
            get("failure"),
        )
        answer: Answer | None = get("answer")
        if answer is not None:
            self._tell(answer, line)
        self._lines.write_soon(_encode(line) + b"\n")

    def _tell(self, answer: Answer, line: _Line) -> None:
        predictions = answer.predictions
        line.cache = answer.source
        line.instances = len(predictions)
        if self._features == "hash":
            line.features_hash = self._hash(answer)
        elif self._features == "full":
            line.features = answer.instances[:MOST_FLOWERS]
        if len(predictions) == 1:
            line.predictions = self._alone[predictions[0].class_index]
        else:
            line.predictions = [self._classes[found.class_index] for found in predictions[:MOST_FLOWERS]]

    def _hash(self, answer: Answer) -> str:
        """The same for flowers that are the same to the model. Keyed: there are few enough flowers to try them all."""
        hashed = self._keyed.copy()
        packed = answer.packed
        hashed.update(packed[0] if len(packed) == 1 else b"".join(packed))
        return hashed.hexdigest()

    def _now(self) -> str:
        now = int(time.time() * 1_000)
        if now != self._millisecond:
            self._millisecond = now
            second = now // 1_000
            if second != self._second:
                self._second = second
                self._written_second = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
            self._written = f"{self._written_second}.{now % 1_000:03d}+00:00"
        return self._written
