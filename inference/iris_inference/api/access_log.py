"""The access log: one line for each request.

It bypasses `logging`, which takes as long for a line as the model for a prediction. Keys and passwords cannot get into
it: of a request it has only the fields that are named here, never a header, a query or a body.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from iris_inference.logs import LogWriter
from iris_inference.model.artifact import Manifest
from iris_inference.model.runtime import Instance
from iris_inference.prediction.batch import PredictionResult
from iris_inference.settings import Settings

LOGGER: Final = "iris_inference.requests"
# A line must stay below 16 KiB, where container runtimes split it. The database has all instances.
MAX_LOGGED_INSTANCES: Final = 16

_encode: Final = msgspec.json.Encoder().encode


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """Fields that do not apply to a request are omitted."""

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


class AccessLog:
    """Writes the access log of one process. Belongs to its event loop."""

    def __init__(self, log_writer: LogWriter, manifest: Manifest, settings: Settings) -> None:
        self._log_writer = log_writer
        self._version = manifest.version
        self._classes = manifest.classes
        self._single_label = [(name,) for name in manifest.classes]
        self._features_mode = settings.log_features
        key = settings.log_hash_key
        secret = key.get_secret_value().encode() if key else secrets.token_bytes(32)
        self._hasher = hashlib.blake2b(key=hashlib.sha256(secret).digest(), digest_size=16)
        logger = logging.getLogger(LOGGER)
        self.logs_requests = logger.isEnabledFor(logging.INFO)
        self.logs_probes = logger.isEnabledFor(logging.DEBUG)
        self._second = self._millisecond = -1
        self._written_second = self._written = ""

    def write(self, method: str, route: str, status: int, seconds: float, state: Mapping[str, Any]) -> None:
        """Log a request. `state` is the request's: its id, its user, its PredictionResult or its failure."""
        get = state.get
        line = _Line(
            self._timestamp(),
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
        result: PredictionResult | None = get("answer")
        if result is not None:
            self._add_result(result, line)
        self._log_writer.write_soon(_encode(line) + b"\n")

    def _add_result(self, result: PredictionResult, line: _Line) -> None:
        predictions = result.predictions
        line.cache = result.source
        line.instances = len(predictions)
        if self._features_mode == "hash":
            line.features_hash = self._hash(result)
        elif self._features_mode == "full":
            line.features = result.instances[:MAX_LOGGED_INSTANCES]
        if len(predictions) == 1:
            line.predictions = self._single_label[predictions[0].class_index]
        else:
            line.predictions = [
                self._classes[prediction.class_index] for prediction in predictions[:MAX_LOGGED_INSTANCES]
            ]

    def _hash(self, result: PredictionResult) -> str:
        """Equal for instances that are equal to the model. Keyed, because all possible instances could be tried."""
        hasher = self._hasher.copy()
        packed = result.packed
        hasher.update(packed[0] if len(packed) == 1 else b"".join(packed))
        return hasher.hexdigest()

    def _timestamp(self) -> str:
        now = int(time.time() * 1_000)
        if now != self._millisecond:
            self._millisecond = now
            second = now // 1_000
            if second != self._second:
                self._second = second
                self._written_second = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
            self._written = f"{self._written_second}.{now % 1_000:03d}+00:00"
        return self._written
