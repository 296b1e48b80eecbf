"""Records that wait on disk: what was appended survives the process, and the next one finds it.

A write reaches the kernel before its answer goes out, so a killed process loses nothing. With `sync` it reaches the
disk as well, so neither does a machine without power; requests that arrive together share one wait for the disk.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from iris_inference import segments
from iris_inference.frames import LONGEST, Place, frame
from iris_inference.groupsync import GroupSync
from iris_inference.logs import fields
from iris_inference.records import BacklogDamagedError, BacklogFullError, Entry, rows_of
from iris_inference.segments import Segment

log = logging.getLogger(__name__)

_SEGMENT_BYTES: Final = 4 * 1024 * 1024


class SpoolError(Exception):
    """The folder cannot be used as a spool; the message says why."""


class Spool:
    """A durable queue of at most `max_bytes` in a folder that belongs to this process alone."""

    durable: Final = True

    def __init__(self, folder: Path, max_bytes: int, *, sync: bool) -> None:
        """Take over the folder with what an earlier process left in it. Raises SpoolError."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // 8)
        self._mutex = threading.Lock()
        self._peeked: list[Place] = []
        self._closed = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder)
            self._segments = segments.found(folder)
            left = self.rows
            self._begin_segment()
        except OSError as error:
            raise SpoolError(f"the spool {folder} cannot be used: {error}") from error
        self._sync = GroupSync(self._sync_files) if sync else None
        if left:
            log.info("an earlier process left records in the spool", extra=fields(rows=left, bytes=self.size))

    @property
    def rows(self) -> int:
        """How many flowers wait."""
        return sum(segment.rows for segment in tuple(self._segments))

    @property
    def size(self) -> int:
        """Bytes that the spool takes on disk."""
        return sum(segment.end for segment in tuple(self._segments))

    @property
    def fill(self) -> float:
        """How much of the room for waiting records is taken, 0 to 1."""
        return self.size / self._max_bytes

    @property
    def oldest(self) -> float | None:
        """When the longest waiting prediction was made, in seconds since 1970; None when nothing waits."""
        with self._mutex:
            first = self._segments[0]
            place = None if self._closed else next(first.read(first.end, 1), None)
            return place.entry.at if place else None

    def append(self, entries: Sequence[Entry]) -> None:
        """Add the entries, all of them or, with BacklogFullError, none."""
        frames = [frame(entry) for entry in entries]
        data = b"".join(frames)
        with self._mutex:
            if self._closed:
                raise BacklogFullError("the process is about to end")
            if self.size + len(data) > self._max_bytes or max(map(len, frames)) > LONGEST:
                raise BacklogFullError(f"the spool holds {self.size} bytes, {self._max_bytes} may be kept")
            try:
                active = self._segments[-1]
                if active.sealed or (active.end and active.end + len(data) > self._segment_bytes):
                    active = self._begin_segment()
                active.write(data, rows_of(entries))
            except OSError as error:
                raise BacklogFullError(f"the spool cannot be written: {error}") from error

    async def settle(self) -> None:
        """Return once what was appended is on disk, when that was asked for. Raises BacklogFullError."""
        if self._sync:
            try:
                await self._sync.wait()
            except OSError as error:
                raise BacklogFullError(f"the spool cannot be written to disk: {error}") from error

    def peek(self, rows: int) -> list[Entry]:
        """The oldest entries: as many as hold `rows` flowers, at least one unless nothing waits. They stay.

        Raises BacklogDamagedError for entries that were there and cannot be read any more.
        """
        with self._mutex:
            first, end = self._segments[0], self._segments[0].end
        # Only the one thread that takes moves `start` or removes a file, so reading needs no lock.
        self._peeked = []
        for place in first.read(end, rows):
            if self._peeked and rows < place.entry.rows:
                break
            self._peeked.append(place)
            rows -= place.entry.rows
        if not self._peeked and first.start < end:
            lost = first.rows
            self._set_aside_first()
            raise BacklogDamagedError(lost, f"{first.path.name} was whole and no longer is: the disk fails")
        return [place.entry for place in self._peeked]

    def forget(self, entries: int) -> None:
        """Remove as many of the entries that `peek` returned last: the database has them."""
        with self._mutex:
            first = self._segments[0]
            first.forget(self._peeked[:entries])
            self._peeked = self._peeked[entries:]
            if first.start < first.end:
                return
            if len(self._segments) == 1 and not first.sealed:
                first.clear()
                return
            if len(self._segments) == 1:
                self._begin_segment()
            self._segments.pop(0).remove()

    def close(self) -> None:
        """Give the folder back. What still waits stays in it."""
        if self._sync:
            self._sync.close()
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            for segment in self._segments:
                if segment.rows:
                    os.fsync(segment.descriptor)
                    os.close(segment.descriptor)
                else:
                    segment.remove()
            os.close(self._lock)

    def _begin_segment(self) -> Segment:
        segment = segments.create(self._folder, segments.next_number(self._segments))
        self._segments.append(segment)
        return segment

    def _set_aside_first(self) -> None:
        with self._mutex:
            if len(self._segments) == 1:
                self._begin_segment()
            self._segments.pop(0).set_aside()

    def _sync_files(self) -> None:
        with self._mutex:
            unsynced = [segment for segment in self._segments if segment.dirty]
            # Duplicates, because the thread that takes may meanwhile remove a file.
            descriptors = [os.dup(segment.descriptor) for segment in unsynced]
            for segment in unsynced:
                segment.dirty = False
        try:
            for descriptor in descriptors:
                os.fsync(descriptor)
            # The names of new files are on disk only once their folder is.
            os.fsync(self._lock)
        except OSError:
            # Trying again would succeed and mean nothing: the kernel has forgotten what it could not write.
            for segment in unsynced:
                segment.sealed = True
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _locked(folder: Path) -> int:
    """Make the folder this process's own, for as long as the returned descriptor is open. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OSError("another process uses it") from None
    return descriptor
