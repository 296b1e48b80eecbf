"""The files of a spool: each is written once from its start to its end, read in the same order, and removed whole."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from iris_inference.frames import LONGEST, MAGICS, Place, parse
from iris_inference.logs import fields

log = logging.getLogger(__name__)

_SUFFIX: Final = ".spool"
_DAMAGED: Final = ".damaged"
_SPARE_BYTES: Final = 32 * 1024


@dataclass(slots=True)
class Segment:
    """One file. Frames lie between `start`, before which all is in the database, and `end`, after which nothing is."""

    path: Path
    descriptor: int
    rows: int = 0
    start: int = 0
    end: int = 0
    # Nothing is written behind bytes that could not be taken back.
    sealed: bool = False
    # Something was written that may not be on disk yet.
    dirty: bool = False

    def write(self, data: bytes, rows: int) -> None:
        """Append frames, all of them or none. Raises OSError, as when the disk is full."""
        try:
            _write_all(self.descriptor, data)
        except OSError:
            self._take_back()
            raise
        self.end += len(data)
        self.rows += rows
        self.dirty = True

    def read(self, end: int, rows: int) -> Iterator[Place]:
        """The next frames up to `end`, about as many as hold so many rows. Ends early at what is no frame."""
        waiting = end - self.start
        # What the rows take on the average; if that is not even one frame, what any frame has room in.
        for size in (_SPARE_BYTES + waiting * rows // max(self.rows, 1), LONGEST):
            places = parse(os.pread(self.descriptor, min(waiting, size, LONGEST), self.start), self.start)
            if first := next(places, None):
                yield first
                yield from places
                return

    def forget(self, places: list[Place]) -> None:
        """These frames, the first ones, are in the database."""
        self.start = places[-1].end
        self.rows -= sum(place.entry.rows for place in places)

    def clear(self) -> None:
        """Begin again at the start of the file: all of it is in the database."""
        os.ftruncate(self.descriptor, 0)
        self.start = self.end = 0

    def remove(self) -> None:
        """The file is not needed any more."""
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Keep what cannot be read for a person to look at."""
        os.close(self.descriptor)
        self.path.rename(self.path.with_suffix(_DAMAGED))

    def _take_back(self) -> None:
        try:
            os.ftruncate(self.descriptor, self.end)
        except OSError:
            self.sealed = True


def _write_all(descriptor: int, data: bytes) -> None:
    # A disk that is nearly full takes what fits and says so only when asked for the rest.
    while data:
        data = data[os.write(descriptor, data) :]


def create(folder: Path, number: int) -> Segment:
    """A new, empty file. Raises OSError."""
    path = folder / f"{number:012d}{_SUFFIX}"
    return Segment(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600))


def found(folder: Path) -> list[Segment]:
    """The files of an earlier process with something in them, in order. Cuts off what it was writing when it died."""
    return [segment for path in sorted(folder.glob(f"*{_SUFFIX}")) if (segment := _opened(path))]


def _opened(path: Path) -> Segment | None:
    data = path.read_bytes()
    places = list(parse(data))
    end = places[-1].end if places else 0
    if end < len(data):
        _tell_cut(path, data[end:])
    segment = Segment(path, os.open(path, os.O_RDWR | os.O_APPEND), sealed=True)
    if not places:
        segment.remove()
        return None
    os.ftruncate(segment.descriptor, end)
    segment.end = end
    segment.rows = sum(place.entry.rows for place in places)
    return segment


def _tell_cut(path: Path, cut: bytes) -> None:
    if any(magic in cut[1:] for magic in MAGICS):
        # More than the last frame is affected, so this is no unfinished write; what follows may have been acknowledged.
        aside = path.with_suffix(_DAMAGED)
        aside.write_bytes(cut)
        log.critical("the spool is damaged; the rest of a file is set aside", extra=fields(file=str(aside)))
    else:
        # It was never acknowledged: an answer waits for the whole frame.
        log.warning("cut an unfinished record off the spool", extra=fields(file=path.name, bytes=len(cut)))


def next_number(segments: list[Segment]) -> int:
    """A number that comes after those of the segments."""
    return int(segments[-1].path.stem) + 1 if segments else 1
