"""The columnar encoding of large requests in the backlog: one COPY row per class, and all numbers as columns.

The rows themselves take five times as much space, nearly all of it redundant, and the backlog is written, read back and
checksummed twice. The rows are expanded when they are inserted, which no request waits for.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from iris_inference.model.arrays import Matrix

# The numbers of instances, features, classes of the model, and rows; the bytes of a row before the instance index, and
# between that and the features.
_HEADER: Final = struct.Struct("<HHHHHH")
_LENGTH: Final = struct.Struct("<H")
_DOUBLE: Final = np.dtype("<f8")


def to_columnar(
    rows: Sequence[bytes], gaps: tuple[int, int], classes: Sequence[int], features: Matrix, probabilities: Matrix
) -> bytes:
    """Encode the records of one request.

    Args:
        rows: the row of one instance of each class; their lengths may differ.
        gaps: the bytes of a row before the instance index, and between that and the features.
        classes: the index in `rows` of each instance's class.
        features: shape (instances, features).
        probabilities: shape (instances, classes of the model); each row ends with them.
    """
    header = _HEADER.pack(*features.shape, probabilities.shape[1], len(rows), *gaps)
    numbers = [matrix.astype(_DOUBLE, copy=False).tobytes() for matrix in (features, probabilities)]
    return b"".join((header, *[_LENGTH.pack(len(row)) + row for row in rows], bytes(classes), *numbers))


def from_columnar(payload: bytes) -> bytearray:
    """Expand what `to_columnar` encoded into all COPY rows, grouped by class."""
    instances, width, class_count, row_count, *gaps = _HEADER.unpack_from(payload)
    end = _HEADER.size
    rows = []
    for _ in range(row_count):
        start = end + _LENGTH.size
        end = start + _LENGTH.unpack_from(payload, end)[0]
        rows.append(payload[start:end])
    classes = np.frombuffer(payload, np.uint8, instances, end)
    order = classes.argsort(kind="stable")
    features = _read_matrix(payload, instances, width, end + instances)
    probabilities = _read_matrix(payload, instances, class_count, end + instances + features.nbytes)
    columns = order, features.take(order, 0), probabilities.take(order, 0)
    counts = [payload.count(index, end, end + instances) for index in range(row_count)]
    expanded = bytearray(b"".join([row * count for row, count in zip(rows, counts, strict=True)]))
    first = end = 0
    for row, count in zip(rows, counts, strict=True):
        # The row of a class is repeated for each of its instances; then the numbers are replaced.
        repeated = np.ndarray(count, _row_dtype(len(row), gaps[0], gaps[1], width, class_count), expanded, end)
        last = first + count
        repeated["instance"], repeated["features"]["value"], repeated["probabilities"]["value"] = (
            column[first:last] for column in columns
        )
        first = last
        end += repeated.nbytes
    return expanded


def _read_matrix(payload: bytes, rows: int, width: int, start: int) -> Matrix:
    return np.frombuffer(payload, _DOUBLE, rows * width, start).reshape(rows, width)


@lru_cache(128)
def _row_dtype(row: int, before: int, between: int, width: int, classes: int) -> np.dtype[np.void]:
    """The positions of the numbers in a row: in network byte order, doubles after their length."""
    instance, features, probabilities = np.dtype(">i2"), _double_array_dtype(width), _double_array_dtype(classes)
    return np.dtype(
        {
            "names": ["instance", "features", "probabilities"],
            "formats": [instance, features, probabilities],
            "offsets": [before, before + instance.itemsize + between, row - probabilities.itemsize],
            "itemsize": row,
        }
    )


def _double_array_dtype(width: int) -> np.dtype[np.void]:
    return np.dtype(([("length", ">i4"), ("value", ">f8")], (width,)))
