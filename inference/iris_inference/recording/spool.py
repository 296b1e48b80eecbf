"""The backlog of records on disk: entries survive the process, and the next one continues with them.

A write reaches the kernel before its response is sent, so a killed process loses nothing. With `sync` it also reaches
the disk, so a power failure loses nothing either; requests that arrive together share one fsync.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from iris_inference.logs import fields
from iris_inference.recording import segments
from iris_inference.recording.frames import MAX_FRAME_BYTES, ParsedFrame, encode_frame
from iris_inference.recording.group_fsync import GroupFsync
from iris_inference.recording.record import BacklogDamagedError, BacklogFullError, Entry, count_rows
from iris_inference.recording.segments import Segment

log = logging.getLogger(__name__)

_SEGMENT_BYTES: Final = 4 * 1024 * 1024


class SpoolError(Exception):
    """The folder cannot be used as a spool; the message has the reason."""


class Spool:
    """A durable queue of at most `max_bytes` in a folder that this process locks."""

    durable: Final = True

    def __init__(self, folder: Path, max_bytes: int, *, sync: bool) -> None:
        """Lock the folder, and open what an earlier process left in it. Raises SpoolError."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // 8)
        self._mutex = threading.Lock()
        self._peeked: list[ParsedFrame] = []
        self._closed = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock_folder(folder)
            self._segments = segments.open_existing(folder)
            remaining = self.rows
            self._start_segment()
        except OSError as error:
            raise SpoolError(f"the spool {folder} cannot be used: {error}") from error
        self._group_fsync = GroupFsync(self._fsync_segments) if sync else None
        if remaining:
            log.info("an earlier process left records in the spool", extra=fields(rows=remaining, bytes=self.size))

    @property
    def rows(self) -> int:
        """The number of waiting rows."""
        return sum(segment.rows for segment in tuple(self._segments))

    @property
    def size(self) -> int:
        """The size of the spool on disk in bytes."""
        return sum(segment.end for segment in tuple(self._segments))

    @property
    def fill(self) -> float:
        """The used fraction of the capacity, 0 to 1."""
        return self.size / self._max_bytes

    @property
    def oldest(self) -> float | None:
        """The time of the oldest waiting prediction in seconds since 1970; None when the backlog is empty."""
        with self._mutex:
            first = self._segments[0]
            frame = None if self._closed else next(first.read(first.end, 1), None)
            return frame.entry.predicted_at if frame else None

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all entries, or none and raise BacklogFullError."""
        frames = [encode_frame(entry) for entry in entries]
        data = b"".join(frames)
        with self._mutex:
            if self._closed:
                raise BacklogFullError("the process is about to end")
            if self.size + len(data) > self._max_bytes or max(map(len, frames)) > MAX_FRAME_BYTES:
                raise BacklogFullError(f"the spool holds {self.size} bytes, {self._max_bytes} may be kept")
            try:
                active = self._segments[-1]
                if active.sealed or (active.end and active.end + len(data) > self._segment_bytes):
                    active = self._start_segment()
                active.write(data, count_rows(entries))
            except OSError as error:
                raise BacklogFullError(f"the spool cannot be written: {error}") from error

    async def flush(self) -> None:
        """With `sync`, wait until the appended entries are on disk. Raises BacklogFullError."""
        if self._group_fsync:
            try:
                await self._group_fsync.wait()
            except OSError as error:
                raise BacklogFullError(f"the spool cannot be written to disk: {error}") from error

    def peek(self, rows: int) -> list[Entry]:
        """The oldest entries with up to `rows` rows, at least one entry unless the backlog is empty.

        Raises BacklogDamagedError for entries that can no longer be read.
        """
        with self._mutex:
            first, end = self._segments[0], self._segments[0].end
        # Only the consumer thread advances `start` or removes a file, so it reads without the lock.
        self._peeked = []
        for frame in first.read(end, rows):
            if self._peeked and rows < frame.entry.rows:
                break
            self._peeked.append(frame)
            rows -= frame.entry.rows
        if not self._peeked and first.start < end:
            lost = first.rows
            self._quarantine_first()
            raise BacklogDamagedError(lost, f"{first.path.name} was valid and no longer is: the disk fails")
        return [frame.entry for frame in self._peeked]

    def remove(self, entries: int) -> None:
        """Remove the first `entries` of the entries that `peek` returned last: the database has them."""
        with self._mutex:
            first = self._segments[0]
            first.advance(self._peeked[:entries])
            self._peeked = self._peeked[entries:]
            if first.start < first.end:
                return
            if len(self._segments) == 1 and not first.sealed:
                first.clear()
                return
            if len(self._segments) == 1:
                self._start_segment()
            self._segments.pop(0).remove()

    def close(self) -> None:
        """Unlock the folder. The waiting entries stay in it."""
        if self._group_fsync:
            self._group_fsync.close()
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

    def _start_segment(self) -> Segment:
        segment = segments.create(self._folder, segments.next_number(self._segments))
        self._segments.append(segment)
        return segment

    def _quarantine_first(self) -> None:
        with self._mutex:
            if len(self._segments) == 1:
                self._start_segment()
            self._segments.pop(0).quarantine()

    def _fsync_segments(self) -> None:
        with self._mutex:
            unsynced = [segment for segment in self._segments if segment.dirty]
            # Duplicates, because the consumer thread may remove a file meanwhile.
            descriptors = [os.dup(segment.descriptor) for segment in unsynced]
            for segment in unsynced:
                segment.dirty = False
        try:
            for descriptor in descriptors:
                os.fsync(descriptor)
            # The names of new files are on disk only after an fsync of their folder.
            os.fsync(self._lock)
        except OSError:
            # A retry would succeed without effect: the kernel drops the pages that it could not write.
            for segment in unsynced:
                segment.sealed = True
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _lock_folder(folder: Path) -> int:
    """Lock the folder for as long as the returned descriptor is open. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OSError("another process uses it") from None
    return descriptor
