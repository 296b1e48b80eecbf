"""The format of the spool's files: a sequence of frames, each with its length and its checksum.

A frame is a header of 24 bytes and the payload. Incomplete data, or data with another checksum, is not a frame.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from iris_inference.recording.copy_format import from_json
from iris_inference.recording.record import Entry

# A crashed machine may leave zeros at the end of a file, whose checksum would be valid without a magic number.
# The digit is the format of the payload: 2 is COPY rows, 3 is the encoding of columnar.py, 1 is JSON, from earlier
# releases.
MAGIC: Final = b"irf2"
_MAGIC_COLUMNAR: Final = b"irf3"
_MAGIC_JSON: Final = b"irf1"
MAGICS: Final = frozenset({MAGIC, _MAGIC_COLUMNAR, _MAGIC_JSON})
_CHECKSUM: Final = struct.Struct("<I")
# Rows, time and length; the checksum covers them and the payload.
_HEADER: Final = struct.Struct("<IdI")
_OVERHEAD: Final = len(MAGIC) + _CHECKSUM.size + _HEADER.size
# A request of some hundred instances takes a tenth of this.
MAX_FRAME_BYTES: Final = 1024 * 1024


class ParsedFrame(NamedTuple):
    """An entry, and the offset in the file at which its frame ends."""

    entry: Entry
    end: int


def encode_frame(entry: Entry) -> bytes:
    """Encode an entry as a frame."""
    header = _HEADER.pack(entry.rows, entry.predicted_at, len(entry.payload))
    magic = _MAGIC_COLUMNAR if entry.columnar else MAGIC
    return b"".join((magic, _CHECKSUM.pack(zlib.crc32(entry.payload, zlib.crc32(header))), header, entry.payload))


def parse_frames(data: bytes, offset: int = 0) -> Iterator[ParsedFrame]:
    """Parse the frames in `data`, which starts at `offset` of its file, up to the first invalid one."""
    # A view: frames are large, and only their payloads have to be copied.
    view = memoryview(data)
    start = 0
    while len(data) >= start + _OVERHEAD and (magic := data[start : start + len(MAGIC)]) in MAGICS:
        header = start + _OVERHEAD - _HEADER.size
        rows, predicted_at, length = _HEADER.unpack_from(data, header)
        end = start + _OVERHEAD + length
        if end > len(data) or zlib.crc32(view[header:end]) != _CHECKSUM.unpack_from(data, start + len(MAGIC))[0]:
            return
        payload = data[start + _OVERHEAD : end]
        if magic == _MAGIC_JSON:
            entry = from_json(payload)
        else:
            entry = Entry(rows, predicted_at, payload, columnar=magic == _MAGIC_COLUMNAR)
        yield ParsedFrame(entry, offset + end)
        start = end
