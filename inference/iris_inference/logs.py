"""Logs: one JSON object a line on standard output. Stack traces are a field, never loose lines."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

FIELDS: Final = "fields"


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


def configure(level: str) -> None:
    """Send every logger's records at `level` and above to standard output as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # uvicorn tells of its start and stop in its own words; ours carry the model and the revision.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
