"""Logs: one JSON object a line on standard output. Stack traces are a field, never loose lines."""

import asyncio
import logging
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from pydantic_core import to_json

FIELDS: Final = "fields"


class Lines:
    """Whole lines to a stream. Those of one turn of the event loop are written together, at its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._mutex = threading.Lock()
        # Threads may add to it at any time, and take from it with the mutex.
        self._waiting: deque[bytes] = deque()
        self._scheduled = False

    def write(self, line: bytes) -> None:
        """Write a line at once, after those that wait. From any thread."""
        self._waiting.append(line)
        self.flush()

    def write_soon(self, line: bytes) -> None:
        """Write a line before the event loop waits again. From its thread."""
        self._waiting.append(line)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def flush(self) -> None:
        """Write what waits."""
        with self._mutex:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if lines:
                self._stream.write(b"".join(lines))
                self._stream.flush()

    def _end_turn(self) -> None:
        self._scheduled = False
        self.flush()


class LineHandler(logging.Handler):
    """What goes through `logging` goes the same way, in the same order."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record at once."""
        try:
            self._lines.write(self.format(record).encode() + b"\n")
        except Exception:  # noqa: BLE001 - as logging has it: what cannot be told must not stop the work
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """Renders a record with the fields that were passed as `extra=fields(...)`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return to_json(line, fallback=str, inf_nan_mode="strings").decode()


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Structured fields for a log call: `log.info("ready", extra=fields(seconds=1.2))`."""
    return {FIELDS: values}


def configure(level: str) -> Lines:
    """Send every logger's records at `level` and above to standard output as JSON. Returns the way there."""
    lines = Lines(sys.stdout.buffer)
    handler = LineHandler(lines)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # uvicorn tells of its start and stop in its own words; ours carry the model and the revision.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return lines
