"""Encodes records in the binary format of PostgreSQL's COPY: rows of the table `predictions`.

A row is the number of its columns, and then each column as its length and its value, in network byte order. Numbers are
not formatted as decimals here, nor parsed by PostgreSQL: both would take longer than everything else about a record.
"""

import json
import math
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, repeat
from typing import Final

import numpy as np

from iris_inference.model.arrays import Matrix, to_matrix
from iris_inference.model.prediction import Prediction, classes_of, probabilities_of
from iris_inference.model.runtime import Instance
from iris_inference.recording.columnar import from_columnar, to_columnar
from iris_inference.recording.record import Entry

# The order of the values in a row. A change needs a new MAGIC in frames.py.
COLUMNS: Final = (
    *("request_id", "instance", "predicted_on", "predicted_at", "model_name", "model_version", "model_digest"),
    *("revision", "features", "label", "probabilities"),
)
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

# From this many instances, records are encoded as columns: numpy's fixed cost is lower than that of a loop.
_COLUMNAR_FROM: Final = 16
_MICROSECONDS_A_DAY: Final = 86_400_000_000
# PostgreSQL's dates and timestamps count from 1 January 2000.
_EPOCH: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_FLOAT8: Final = 701
_COLUMN_COUNT: Final = struct.pack("!h", len(COLUMNS))
_LENGTH: Final = struct.Struct("!i")
_INSTANCE: Final = struct.Struct("!ih")
_INSTANCE_OFFSET: Final = _INSTANCE.size - 2
_FIRST_INSTANCE: Final = _INSTANCE.pack(2, 0)
_TIMESTAMP: Final = struct.Struct("!iiiq")
# The header of an array: its length in bytes; one dimension, no nulls, the type; its size and first index.
_ARRAY_HEADER: Final = struct.Struct("!iiiiii")


class RowEncoder:
    """Encodes the records of one model in one revision."""

    def __init__(self, identity: Sequence[str], features: int, classes: Sequence[str]) -> None:
        """`identity`: the model's name, version and digest, and the revision; `features`: the number of features."""
        self._features = _DoubleArray(features)
        self._probabilities = _DoubleArray(len(classes))
        # The bytes between the numbers are the same for all rows, or for all rows of a class.
        self._constant = b"".join(map(_encode_text, identity)) + self._features.header
        self._labels = [_encode_text(label) + self._probabilities.header for label in classes]
        self._encoded_at = math.nan
        self._middle = b""

    def encode(
        self,
        request_id: str,
        predicted_at: float,
        instances: Sequence[Instance] | Matrix,
        predictions: Sequence[Prediction],
    ) -> Entry:
        """Encode the record of one request. `predicted_at` is in seconds since 1970."""
        start = _COLUMN_COUNT + _encode_text(request_id)
        if predicted_at != self._encoded_at:
            # Encoded once per batch: all of its requests have the same time.
            microseconds = round((predicted_at - _EPOCH) * 1_000_000)
            self._encoded_at = predicted_at
            self._middle = _TIMESTAMP.pack(4, microseconds // _MICROSECONDS_A_DAY, 8, microseconds) + self._constant
        if len(instances) == 1:
            return Entry(1, predicted_at, self._encode_row(start, 0, instances[0], predictions[0]))
        if len(instances) < _COLUMNAR_FROM:
            return Entry(len(instances), predicted_at, self._encode_rows(start, instances, predictions))
        features = instances if isinstance(instances, np.ndarray) else to_matrix(instances)
        return Entry(len(instances), predicted_at, self._encode_columnar(start, features, predictions), columnar=True)

    def _encode_row(self, start: bytes, index: int, instance: Sequence[float], prediction: Prediction) -> bytes:
        features = self._features.pack(instance)
        probabilities = self._probabilities.pack(prediction.probabilities)
        instance_id = _INSTANCE.pack(2, index) if index else _FIRST_INSTANCE
        label = self._labels[prediction.class_index]
        return b"".join((start, instance_id, self._middle, features, label, probabilities))

    def _encode_rows(
        self, start: bytes, instances: Sequence[Instance] | Matrix, predictions: Sequence[Prediction]
    ) -> bytes:
        pairs = zip(instances, predictions, strict=True)
        return b"".join([self._encode_row(start, index, *pair) for index, pair in enumerate(pairs)])

    def _encode_columnar(self, start: bytes, features: Matrix, predictions: Sequence[Prediction]) -> bytes:
        classes = classes_of(predictions)
        present = sorted(set(classes))
        firsts = [classes.index(class_index) for class_index in present]
        rows = [self._encode_row(start, 0, features[first], predictions[first]) for first in firsts]
        if len(present) < len(self._labels):
            classes = [present.index(class_index) for class_index in classes]
        return to_columnar(
            rows, (len(start) + _INSTANCE_OFFSET, len(self._middle)), classes, features, probabilities_of(predictions)
        )


class _DoubleArray:
    """Encodes arrays of a fixed number of doubles. Each value follows its length, 8."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._values = struct.Struct("!" + "id" * width)
        # Reused for each array: the values between the lengths are overwritten.
        self._lengths_and_values: list[float] = [8] * (2 * width)
        self.header = _ARRAY_HEADER.pack(_ARRAY_HEADER.size - 4 + self._values.size, 1, 0, _FLOAT8, width, 1)

    def pack(self, values: Sequence[float]) -> bytes:
        """The values of one array, which follow its `header`."""
        self._lengths_and_values[1::2] = values
        return self._values.pack(*self._lengths_and_values)


def from_json(payload: bytes) -> Entry:
    """Read a record in the JSON format of earlier releases."""
    record = json.loads(payload)
    instances = record["instances"]
    labels = sorted({instance["label"] for instance in instances})
    # Classes that were not predicted are not in the record, and not needed.
    classes = [*labels, *repeat("", len(instances[0]["probabilities"]) - len(labels))]
    identity = [record[name] for name in ("model_name", "model_version", "model_digest", "revision")]
    encoder = RowEncoder(identity, len(instances[0]["features"]), classes)
    predictions = [
        Prediction(labels.index(instance["label"]), tuple(instance["probabilities"])) for instance in instances
    ]
    features = [tuple(instance["features"]) for instance in instances]
    predicted_at = datetime.fromisoformat(record["predicted_at"]).timestamp()
    return encoder.encode(record["request_id"], predicted_at, features, predictions)


def to_rows(entry: Entry) -> bytes | bytearray:
    """The COPY rows of an entry, in either encoding."""
    return from_columnar(entry.payload) if entry.columnar else entry.payload


def split_by_request(entry: Entry) -> list[Entry]:
    """Split an entry into one entry per request."""
    if entry.columnar:
        return [entry]
    requests = [list(rows) for _, rows in groupby(_iter_rows(entry.payload), first_request_id)]
    return [Entry(len(rows), entry.predicted_at, b"".join(rows)) for rows in requests]


def _iter_rows(payload: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(payload):
        end = start + len(_COLUMN_COUNT)
        for _ in COLUMNS:
            end += _LENGTH.size + _LENGTH.unpack_from(payload, end)[0]
        yield payload[start:end]
        start = end


def first_request_id(payload: bytes | bytearray) -> str:
    """The request id of the first row."""
    (length,) = _LENGTH.unpack_from(payload, len(_COLUMN_COUNT))
    start = len(_COLUMN_COUNT) + _LENGTH.size
    return payload[start : start + length].decode()


def _encode_text(value: str) -> bytes:
    content = value.encode()
    return _LENGTH.pack(len(content)) + content
