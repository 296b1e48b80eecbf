"""The plan: a small file that the operator writes, which revision gets how many of the requests.

A file, because a pod must learn of it without being made anew. It is read again while the service runs.
"""

import math
import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

# Anything longer is no plan.
_LONGEST: Final = 4_096
# It becomes a label of metrics and part of a header.
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class PlanError(Exception):
    """The file is no plan; the message says why."""


class Plan(NamedTuple):
    """Which revision is tried, where it answers, and the share of requests that it gets a copy of, 0 to 1.

    With the share 0 nothing is sent, and labels that come for what was sent before still count.
    """

    revision: str
    host: str
    port: int
    share: float


class _File(msgspec.Struct, forbid_unknown_fields=True):
    revision: str
    url: str
    share: float


def read(path: Path) -> Plan | None:
    """The plan in a file; None when there is no file, or nothing in it. Raises PlanError."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlanError(f"it cannot be read: {error.strerror}") from error
    return parse(content)


def parse(content: bytes) -> Plan | None:
    """The plan that `content` says; None when it is empty. Raises PlanError."""
    if not content.strip():
        return None
    if len(content) > _LONGEST:
        raise PlanError(f"it is longer than {_LONGEST} bytes")
    try:
        told = msgspec.json.decode(content, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PlanError(str(error)) from error
    if not _REVISION.fullmatch(told.revision):
        raise PlanError("revision: must be a name of at most 63 letters, digits, dots and dashes")
    if not (math.isfinite(told.share) and 0 <= told.share <= 1):
        raise PlanError("share: must be between 0 and 1")
    host, port = _address(told.url)
    return Plan(told.revision, host, port, told.share)


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise PlanError(f"url: {error}") from None
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise PlanError("url: must be http://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise PlanError("url: must be http://host:port and nothing else")
    return parts.hostname, port
