"""The segment files of a spool: each is appended to, read from the start, and removed as a whole."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from iris_inference.logs import fields
from iris_inference.recording.frames import MAGICS, MAX_FRAME_BYTES, ParsedFrame, parse_frames

log = logging.getLogger(__name__)

_SUFFIX: Final = ".spool"
_DAMAGED_SUFFIX: Final = ".damaged"
_READ_MARGIN_BYTES: Final = 32 * 1024


@dataclass(slots=True)
class Segment:
    """One file. Its frames are between `start`, before which all are in the database, and `end`, the valid length."""

    path: Path
    descriptor: int
    rows: int = 0
    start: int = 0
    end: int = 0
    # Nothing more is appended, because there may be invalid bytes after `end`.
    sealed: bool = False
    # Has data that may not be on disk yet.
    dirty: bool = False

    def write(self, data: bytes, rows: int) -> None:
        """Append frames, all of them or none. Raises OSError, as when the disk is full."""
        try:
            _write_all(self.descriptor, data)
        except OSError:
            self._undo_write()
            raise
        self.end += len(data)
        self.rows += rows
        self.dirty = True

    def read(self, end: int, rows: int) -> Iterator[ParsedFrame]:
        """Read the next frames up to `end`, with about `rows` rows. Stops at an invalid frame."""
        waiting = end - self.start
        # First the average size of the rows; if that is less than a frame, the size of the largest frame.
        for size in (_READ_MARGIN_BYTES + waiting * rows // max(self.rows, 1), MAX_FRAME_BYTES):
            frames = parse_frames(
                os.pread(self.descriptor, min(waiting, size, MAX_FRAME_BYTES), self.start), self.start
            )
            if first := next(frames, None):
                yield first
                yield from frames
                return

    def advance(self, frames: list[ParsedFrame]) -> None:
        """Skip these frames, the first ones: they are in the database."""
        self.start = frames[-1].end
        self.rows -= sum(frame.entry.rows for frame in frames)

    def clear(self) -> None:
        """Truncate the file: all of it is in the database."""
        os.ftruncate(self.descriptor, 0)
        self.start = self.end = 0

    def remove(self) -> None:
        """Delete the file: all of it is in the database."""
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)

    def quarantine(self) -> None:
        """Rename a file that cannot be read, so that it can be examined."""
        os.close(self.descriptor)
        self.path.rename(self.path.with_suffix(_DAMAGED_SUFFIX))

    def _undo_write(self) -> None:
        try:
            os.ftruncate(self.descriptor, self.end)
        except OSError:
            self.sealed = True


def _write_all(descriptor: int, data: bytes) -> None:
    # A nearly full disk accepts what fits, and fails only with the next write.
    while data:
        data = data[os.write(descriptor, data) :]


def create(folder: Path, number: int) -> Segment:
    """Create a new, empty segment. Raises OSError."""
    path = folder / f"{number:012d}{_SUFFIX}"
    return Segment(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600))


def open_existing(folder: Path) -> list[Segment]:
    """Open the non-empty segments of an earlier process, in order. Truncates an unfinished frame at the end of each."""
    return [segment for path in sorted(folder.glob(f"*{_SUFFIX}")) if (segment := _open(path))]


def _open(path: Path) -> Segment | None:
    data = path.read_bytes()
    frames = list(parse_frames(data))
    end = frames[-1].end if frames else 0
    if end < len(data):
        _report_truncation(path, data[end:])
    segment = Segment(path, os.open(path, os.O_RDWR | os.O_APPEND), sealed=True)
    if not frames:
        segment.remove()
        return None
    os.ftruncate(segment.descriptor, end)
    segment.end = end
    segment.rows = sum(frame.entry.rows for frame in frames)
    return segment


def _report_truncation(path: Path, cut: bytes) -> None:
    if any(magic in cut[1:] for magic in MAGICS):
        # More than the last frame is invalid, so this is not an unfinished write; the rest may have been acknowledged.
        damaged = path.with_suffix(_DAMAGED_SUFFIX)
        damaged.write_bytes(cut)
        log.critical("the spool is damaged; the rest of a file was moved", extra=fields(file=str(damaged)))
    else:
        # It was never acknowledged: a response waits for the whole frame.
        log.warning("removed an unfinished record from the spool", extra=fields(file=path.name, bytes=len(cut)))


def next_number(segments: list[Segment]) -> int:
    """The number after those of the segments."""
    return int(segments[-1].path.stem) + 1 if segments else 1
