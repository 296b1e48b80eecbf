"""Logs: one JSON object per line on standard output. Stack traces are a field, never separate lines."""

import asyncio
import logging
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from pydantic_core import to_json

FIELDS: Final = "fields"


class LogWriter:
    """Writes complete lines to a stream. Those of one turn of the event loop are written together, at its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._mutex = threading.Lock()
        # Threads may append at any time, and remove lines only with the mutex.
        self._pending: deque[bytes] = deque()
        self._scheduled = False

    def write(self, line: bytes) -> None:
        """Write a line at once, after the pending ones. From any thread."""
        self._pending.append(line)
        self.flush()

    def write_soon(self, line: bytes) -> None:
        """Write a line at the end of this turn of the event loop. From its thread."""
        self._pending.append(line)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_scheduled)

    def flush(self) -> None:
        """Write the pending lines."""
        with self._mutex:
            lines = [self._pending.popleft() for _ in range(len(self._pending))]
            if lines:
                self._stream.write(b"".join(lines))
                self._stream.flush()

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()


class LineHandler(logging.Handler):
    """Passes the records of `logging` to a LogWriter, so that all lines are in order."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record at once."""
        try:
            self._writer.write(self.format(record).encode() + b"\n")
        except Exception:  # noqa: BLE001 - as in logging's own handlers: a failing log must not stop the work
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


def configure(level: str) -> LogWriter:
    """Write every logger's records at `level` and above to standard output as JSON. Returns the writer."""
    writer = LogWriter(sys.stdout.buffer)
    handler = LineHandler(writer)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # uvicorn logs its start and stop, too; our own lines have the model and the revision.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return writer
