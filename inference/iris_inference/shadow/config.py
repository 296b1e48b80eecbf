"""The shadow config: a small file, written by the operator, of the revisions that get a share of the requests.

It is a file, so that it can change without a restart of the pod: it is read again while the service runs.
"""

import math
import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

_MAX_BYTES: Final = 4_096
# The revision becomes a label of metrics and a part of a header.
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class ShadowConfigError(Exception):
    """The file is not a valid shadow config; the message says why."""


class ShadowTarget(NamedTuple):
    """A revision that gets mirrored requests, and its address."""

    revision: str
    host: str
    port: int


class ShadowConfig(NamedTuple):
    """The canary, the share of requests that are mirrored to it, 0 to 1, and the control group that gets the same ones.

    With the share 0 nothing is sent, and labels for requests that were mirrored before still count.
    """

    canary: ShadowTarget
    share: float
    control: ShadowTarget | None = None

    @property
    def targets(self) -> tuple[ShadowTarget, ...]:
        """All that get each mirrored request."""
        return (self.canary,) if self.control is None else (self.canary, self.control)


class _Target(msgspec.Struct, forbid_unknown_fields=True):
    revision: str
    url: str


class _ConfigFile(msgspec.Struct, forbid_unknown_fields=True):
    revision: str
    url: str
    share: float
    control: _Target | None = None


def read_config(path: Path) -> ShadowConfig | None:
    """Read the config from a file; None when there is no file, or it is empty. Raises ShadowConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShadowConfigError(f"it cannot be read: {error.strerror}") from error
    return parse_config(content)


def parse_config(content: bytes) -> ShadowConfig | None:
    """Parse the config; None when `content` is empty. Raises ShadowConfigError."""
    if not content.strip():
        return None
    if len(content) > _MAX_BYTES:
        raise ShadowConfigError(f"it is longer than {_MAX_BYTES} bytes")
    try:
        decoded = msgspec.json.decode(content, type=_ConfigFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ShadowConfigError(str(error)) from error
    if not (math.isfinite(decoded.share) and 0 <= decoded.share <= 1):
        raise ShadowConfigError("share: must be between 0 and 1")
    canary, control = _target(decoded.revision, decoded.url), decoded.control
    return ShadowConfig(
        canary, decoded.share, None if control is None else _target(control.revision, control.url, "control.")
    )


def _target(revision: str, url: str, within: str = "") -> ShadowTarget:
    """The target in the fields `revision` and `url`; `within` is the path of the object that has them."""
    if not _REVISION.fullmatch(revision):
        raise ShadowConfigError(f"{within}revision: must be a name of at most 63 letters, digits, dots and dashes")
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise ShadowConfigError(f"{within}url: {error}") from None
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ShadowConfigError(f"{within}url: must be http://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise ShadowConfigError(f"{within}url: must be http://host:port and nothing else")
    return ShadowTarget(revision, parts.hostname, port)
