"""How records lie in a file of the spool: frames one after another, each with its length and its checksum.

A frame is 24 bytes of header and the payload. What is not whole, or has another checksum, is no frame.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from iris_inference.copyrows import of_json
from iris_inference.records import Entry

# A crashed machine may leave zeros at the end of a file, and their checksum would be right.
# The number is that of what the payload is: 2 are rows for COPY, 3 are rows folded by columns.py, 1 was JSON, by
# releases that may have left some.
MAGIC: Final = b"irf2"
_MAGIC_OF_FOLDED: Final = b"irf3"
_MAGIC_OF_JSON: Final = b"irf1"
MAGICS: Final = frozenset({MAGIC, _MAGIC_OF_FOLDED, _MAGIC_OF_JSON})
_SUM: Final = struct.Struct("<I")
# Rows, time and length: covered by the checksum together with the payload.
_HEAD: Final = struct.Struct("<IdI")
_OVERHEAD: Final = len(MAGIC) + _SUM.size + _HEAD.size
# The largest frame. A request holds some hundred flowers, which is a tenth of this.
LONGEST: Final = 1024 * 1024


class Place(NamedTuple):
    """An entry, and where in the file the next one begins."""

    entry: Entry
    end: int


def frame(entry: Entry) -> bytes:
    """The entry as it is written."""
    head = _HEAD.pack(entry.rows, entry.at, len(entry.payload))
    magic = _MAGIC_OF_FOLDED if entry.folded else MAGIC
    return b"".join((magic, _SUM.pack(zlib.crc32(entry.payload, zlib.crc32(head))), head, entry.payload))


def parse(data: bytes, offset: int = 0) -> Iterator[Place]:
    """The entries in `data`, which begins at `offset` of its file. Ends at the first thing that is no frame."""
    # Looked at through a view: a frame is large, and only its payload is wanted as a copy.
    view = memoryview(data)
    start = 0
    while len(data) >= start + _OVERHEAD and (magic := data[start : start + len(MAGIC)]) in MAGICS:
        head = start + _OVERHEAD - _HEAD.size
        rows, at, length = _HEAD.unpack_from(data, head)
        end = start + _OVERHEAD + length
        if end > len(data) or zlib.crc32(view[head:end]) != _SUM.unpack_from(data, start + len(MAGIC))[0]:
            return
        payload = data[start + _OVERHEAD : end]
        entry = of_json(payload) if magic == _MAGIC_OF_JSON else Entry(rows, at, payload, magic == _MAGIC_OF_FOLDED)
        yield Place(entry, offset + end)
        start = end
