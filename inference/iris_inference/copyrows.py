"""Records as PostgreSQL's COPY reads them: binary rows of the table `predictions`, made once and not looked at again.

A row is the number of its columns and then each column as its length and its value, in network byte order. Numbers are
not written out in decimals here nor read from them there: both would cost more than all else about a record.
"""

import json
import math
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, repeat
from typing import Final

import numpy as np

from iris_inference.columns import fold, unfold
from iris_inference.matrices import Matrix, matrix
from iris_inference.predictions import Prediction, classes_of, probabilities_of
from iris_inference.records import Entry
from iris_inference.runtime import Instance

# The order of the values in a row. A change here needs another MAGIC in frames.py.
COLUMNS: Final = (
    *("request_id", "instance", "predicted_on", "predicted_at", "model_name", "model_version", "model_digest"),
    *("revision", "features", "label", "probabilities"),
)
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

# From so many flowers on a record waits folded: numpy's fixed cost is less than that of a loop.
_MANY: Final = 16
_MICROSECONDS_A_DAY: Final = 86_400_000_000
# PostgreSQL counts from the first of January 2000.
_EPOCH: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_FLOAT8: Final = 701
_COUNT: Final = struct.pack("!h", len(COLUMNS))
_LENGTH: Final = struct.Struct("!i")
_INSTANCE: Final = struct.Struct("!ih")
_PLACE: Final = _INSTANCE.size - 2
_FIRST: Final = _INSTANCE.pack(2, 0)
_MOMENT: Final = struct.Struct("!iiiq")
# An array before its values: its length in bytes; one dimension, no nulls, the type; its size and first index.
_ARRAY: Final = struct.Struct("!iiiiii")


class RowEncoder:
    """Writes the records of one model in one revision, which has so many features and classes."""

    def __init__(self, identity: Sequence[str], features: int, classes: Sequence[str]) -> None:
        """`identity`: the model's name, its version, its digest, and the revision."""
        self._features = _Doubles(features)
        self._probabilities = _Doubles(len(classes))
        # What comes between the numbers is the same for all rows, or for those of a class.
        self._constant = b"".join(map(_text, identity)) + self._features.head
        self._labels = [_text(label) + self._probabilities.head for label in classes]
        self._at = math.nan
        self._middle = b""

    def entry(
        self, request_id: str, at: float, instances: Sequence[Instance] | Matrix, predictions: Sequence[Prediction]
    ) -> Entry:
        """The record of one request, answered at `at` in seconds since 1970."""
        start = _COUNT + _text(request_id)
        if at != self._at:
            # Requests that are answered together are so at the same time.
            moment = round((at - _EPOCH) * 1_000_000)
            self._at = at
            self._middle = _MOMENT.pack(4, moment // _MICROSECONDS_A_DAY, 8, moment) + self._constant
        if len(instances) == 1:
            return Entry(1, at, self._row(start, 0, instances[0], predictions[0]))
        if len(instances) < _MANY:
            return Entry(len(instances), at, self._few(start, instances, predictions))
        features = instances if isinstance(instances, np.ndarray) else matrix(instances)
        return Entry(len(instances), at, self._many(start, features, predictions), folded=True)

    def _row(self, start: bytes, place: int, instance: Sequence[float], prediction: Prediction) -> bytes:
        features = self._features.pack(instance)
        probabilities = self._probabilities.pack(prediction.probabilities)
        instance_id = _INSTANCE.pack(2, place) if place else _FIRST
        label = self._labels[prediction.class_index]
        return b"".join((start, instance_id, self._middle, features, label, probabilities))

    def _few(self, start: bytes, instances: Sequence[Instance] | Matrix, predictions: Sequence[Prediction]) -> bytes:
        pairs = zip(instances, predictions, strict=True)
        return b"".join([self._row(start, place, *pair) for place, pair in enumerate(pairs)])

    def _many(self, start: bytes, features: Matrix, predictions: Sequence[Prediction]) -> bytes:
        classes = classes_of(predictions)
        present = sorted(set(classes))
        firsts = [classes.index(class_index) for class_index in present]
        rows = [self._row(start, 0, features[first], predictions[first]) for first in firsts]
        if len(present) < len(self._labels):
            classes = [present.index(class_index) for class_index in classes]
        return fold(rows, (len(start) + _PLACE, len(self._middle)), classes, features, probabilities_of(predictions))


class _Doubles:
    """Arrays of a fixed number of doubles. Each value follows its length, 8."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._values = struct.Struct("!" + "id" * width)
        # Used again for each array: the places between the lengths are overwritten.
        self._lengths_and_values: list[float] = [8] * (2 * width)
        self.head = _ARRAY.pack(_ARRAY.size - 4 + self._values.size, 1, 0, _FLOAT8, width, 1)

    def pack(self, values: Sequence[float]) -> bytes:
        """The values of one array, which come after its `head`."""
        self._lengths_and_values[1::2] = values
        return self._values.pack(*self._lengths_and_values)


def of_json(payload: bytes) -> Entry:
    """A record as releases before this one wrote it down."""
    record = json.loads(payload)
    flowers = record["instances"]
    known = sorted({flower["label"] for flower in flowers})
    # The classes that nothing was predicted as are not in the record, and not needed.
    classes = [*known, *repeat("", len(flowers[0]["probabilities"]) - len(known))]
    identity = [record[name] for name in ("model_name", "model_version", "model_digest", "revision")]
    encoder = RowEncoder(identity, len(flowers[0]["features"]), classes)
    predictions = [Prediction(known.index(flower["label"]), tuple(flower["probabilities"])) for flower in flowers]
    instances = [tuple(flower["features"]) for flower in flowers]
    at = datetime.fromisoformat(record["predicted_at"]).timestamp()
    return encoder.entry(record["request_id"], at, instances, predictions)


def rows(entry: Entry) -> bytes | bytearray:
    """The rows of an entry, whatever it waits as."""
    return unfold(entry.payload) if entry.folded else entry.payload


def split(entry: Entry) -> list[Entry]:
    """The records of one request each."""
    if entry.folded:
        return [entry]
    requests = [list(rows) for _, rows in groupby(_rows(entry.payload), request_id)]
    return [Entry(len(rows), entry.at, b"".join(rows)) for rows in requests]


def _rows(payload: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(payload):
        end = start + len(_COUNT)
        for _ in COLUMNS:
            end += _LENGTH.size + _LENGTH.unpack_from(payload, end)[0]
        yield payload[start:end]
        start = end


def request_id(payload: bytes | bytearray) -> str:
    """The request that the first row belongs to."""
    (length,) = _LENGTH.unpack_from(payload, len(_COUNT))
    start = len(_COUNT) + _LENGTH.size
    return payload[start : start + length].decode()


def _text(value: str) -> bytes:
    content = value.encode()
    return _LENGTH.pack(len(content)) + content
