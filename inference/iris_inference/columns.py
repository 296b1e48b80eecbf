"""Records of large requests as they wait: one row of COPY for each class, and the numbers of all flowers as columns.

As rows they take five times as much, nearly all of it the same in each, and what waits is written, read back and summed
up twice. The rows are made when the database is to have them, which no answer waits for.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from iris_inference.matrices import Matrix

# How many flowers, features, classes of the model, and rows; how long the rows are up to the flower's number, and from
# there to the features.
_HEAD: Final = struct.Struct("<HHHHHH")
_LENGTH: Final = struct.Struct("<H")
_NUMBER: Final = np.dtype("<f8")


def fold(
    rows: Sequence[bytes], gaps: tuple[int, int], classes: Sequence[int], features: Matrix, probabilities: Matrix
) -> bytes:
    """Records of one request.

    Args:
        rows: the row of some flower of each class; the lengths may differ.
        gaps: how many bytes of a row come before the flower's number, and between that and the features.
        classes: which of the rows is that of each flower.
        features: those of each flower.
        probabilities: with which the rows end.
    """
    head = _HEAD.pack(*features.shape, probabilities.shape[1], len(rows), *gaps)
    numbers = [matrix.astype(_NUMBER, copy=False).tobytes() for matrix in (features, probabilities)]
    return b"".join((head, *[_LENGTH.pack(len(row)) + row for row in rows], bytes(classes), *numbers))


def unfold(payload: bytes) -> bytearray:
    """All rows of what `fold` has made, a class after the other."""
    flowers, width, names, count, *gaps = _HEAD.unpack_from(payload)
    end = _HEAD.size
    rows = []
    for _ in range(count):
        start = end + _LENGTH.size
        end = start + _LENGTH.unpack_from(payload, end)[0]
        rows.append(payload[start:end])
    classes = np.frombuffer(payload, np.uint8, flowers, end)
    places = classes.argsort(kind="stable")
    features = _matrix(payload, flowers, width, end + flowers)
    probabilities = _matrix(payload, flowers, names, end + flowers + features.nbytes)
    columns = places, features.take(places, 0), probabilities.take(places, 0)
    shares = [payload.count(number, end, end + flowers) for number in range(count)]
    unfolded = bytearray(b"".join([row * share for row, share in zip(rows, shares, strict=True)]))
    first = end = 0
    for row, share in zip(rows, shares, strict=True):
        # Copies of one row, in which the numbers are replaced.
        copies = np.ndarray(share, _layout(len(row), gaps[0], gaps[1], width, names), unfolded, end)
        last = first + share
        copies["place"], copies["features"]["value"], copies["probabilities"]["value"] = (
            column[first:last] for column in columns
        )
        first = last
        end += copies.nbytes
    return unfolded


def _matrix(payload: bytes, rows: int, width: int, start: int) -> Matrix:
    return np.frombuffer(payload, _NUMBER, rows * width, start).reshape(rows, width)


@lru_cache(128)
def _layout(row: int, before: int, between: int, width: int, classes: int) -> np.dtype[np.void]:
    """Where the numbers stand in a row: in network byte order, and doubles behind their length."""
    place, features, probabilities = np.dtype(">i2"), _doubles(width), _doubles(classes)
    return np.dtype(
        {
            "names": ["place", "features", "probabilities"],
            "formats": [place, features, probabilities],
            "offsets": [before, before + place.itemsize + between, row - probabilities.itemsize],
            "itemsize": row,
        }
    )


def _doubles(width: int) -> np.dtype[np.void]:
    return np.dtype(([("length", ">i4"), ("value", ">f8")], (width,)))
