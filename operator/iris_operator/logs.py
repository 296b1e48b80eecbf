"""The operator's log: one JSON object a line."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

# What Kopf adds to its records: whole settings and objects.
_KOPF_ATTRIBUTES = ("k8s_ref", "k8s_skip", "settings")
_QUIET = ("aiohttp.access", "urllib3", "asyncio")


def configure_logging(level: str) -> None:
    """One JSON object a line on standard output, for the log store; a stack trace is a field."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            reserved_attrs=[*RESERVED_ATTRS, *_KOPF_ATTRIBUTES],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Kopf logs every handler that it calls; the engine logs what a reconcile decided.
    logging.getLogger("kopf").setLevel(max(logging.getLevelName(level), logging.WARNING))
