"""The provenance of an image: the commit that last changed its sources.

Not the commit that is checked out: an image whose sources did not change keeps its labels, and so its digest.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from iris_local.paths import CHECKOUT

UNKNOWN = "unknown"
_MODIFIED = "-modified"
_SHORT = 12


@dataclass(frozen=True)
class Provenance:
    """The values of an image's labels: a commit hash, its time in UTC, and the URL of the repository.

    `revision` ends in `-modified` where files differ from the commit, and is `unknown` outside of a repository.
    """

    revision: str = UNKNOWN
    created: str = UNKNOWN
    source: str = UNKNOWN

    @property
    def modified(self) -> bool:
        """Whether the sources differ from the commit."""
        return self.revision.endswith(_MODIFIED)

    @property
    def short(self) -> str:
        """The abbreviated revision, for tags."""
        return self.revision.removesuffix(_MODIFIED)[:_SHORT] + (_MODIFIED if self.modified else "")


def of(inputs: Sequence[Path], checkout: Path = CHECKOUT, environment: Mapping[str, str] = os.environ) -> Provenance:
    """The provenance of these files and folders."""
    logged = _git(checkout, "log", "-1", "--format=%H %ct", "--", *map(str, inputs))
    if not logged:
        return Provenance(source=_source(checkout, environment))
    revision, _, seconds = logged.partition(" ")
    if _git(checkout, "status", "--porcelain", "--", *map(str, inputs)):
        revision += _MODIFIED
    created = datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    return Provenance(revision, created, _source(checkout, environment))


def _source(checkout: Path, environment: Mapping[str, str]) -> str:
    if "GITHUB_SERVER_URL" in environment and "GITHUB_REPOSITORY" in environment:
        return f"{environment['GITHUB_SERVER_URL']}/{environment['GITHUB_REPOSITORY']}"
    origin = urlsplit(_git(checkout, "remote", "get-url", "origin"))
    # A local path is useless to others, and a username or password in the URL must not be published.
    return f"https://{origin.hostname}{origin.path.removesuffix('.git')}" if origin.scheme == "https" else UNKNOWN


def _git(checkout: Path, *arguments: str) -> str:
    """The output of git; empty where there is no git or no repository."""
    # In a CI container the checkout belongs to another user, and git would refuse to read it.
    command = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
