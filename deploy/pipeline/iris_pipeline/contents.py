"""The contents of an image, read from its files and not from its inputs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# Where Python looks for distributions: ours, Debian's, and those of the public base image.
_SITE_PACKAGES = (
    "opt/venv/lib/python3*/site-packages",
    "usr/lib/python3/dist-packages",
    "usr/local/lib/python3*/site-packages",
)
_LONGEST_LICENSE = 64
_PATCH_LEVEL = re.compile(r'^#define PY_VERSION\s+"(.+)"', re.MULTILINE)


@dataclass(frozen=True, order=True)
class PythonDistribution:
    """An installed distribution. `license` is an SPDX expression or a name, and empty where none is given."""

    name: str
    version: str
    license: str = ""


@dataclass(frozen=True, order=True)
class DebianPackage:
    """An installed package of Debian."""

    name: str
    version: str
    architecture: str
    source: str = ""


@dataclass(frozen=True)
class Contents:
    """Everything. `interpreter` is the version of a Python that no package installed, empty for Debian's Python."""

    system: Mapping[str, str]
    python: tuple[PythonDistribution, ...]
    debian: tuple[DebianPackage, ...]
    interpreter: str = ""


def read(root: Path) -> Contents:
    """The contents of the image that is mounted at `root`."""
    folders = [str(path) for site in _SITE_PACKAGES for path in sorted(root.glob(site))]
    python = {_distribution(found) for found in metadata.distributions(path=folders)}
    status = root / "var/lib/dpkg/status"
    debian = debian_packages(status.read_text()) if status.exists() else ()
    return Contents(_system(root), tuple(sorted(python)), tuple(sorted(debian)), _interpreter(root))


def debian_packages(status: str) -> Iterator[DebianPackage]:
    """The installed packages of a dpkg status file, without those of which only configuration files are left."""
    for stanza in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", stanza, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            # "glibc (2.36-9)": the version is given when it differs from the package's.
            source = fields.get("Source", "").partition(" ")[0]
            yield DebianPackage(fields["Package"], fields["Version"], fields["Architecture"], source)


def _distribution(found: metadata.Distribution) -> PythonDistribution:
    licenses = [*(found.metadata.get_all("License-Expression") or []), *(found.metadata.get_all("License") or [])]
    # Some distributions put the whole license text there.
    short = [text for text in licenses if text and len(text) <= _LONGEST_LICENSE and "\n" not in text]
    return PythonDistribution(found.name, found.version, short[0] if short else "")


def _system(root: Path) -> Mapping[str, str]:
    release = root / "etc/os-release"
    text = release.read_text() if release.exists() else ""
    return dict(re.findall(r'^(\w+)="?(.*?)"?$', text, re.MULTILINE))


def _interpreter(root: Path) -> str:
    for header in root.glob("usr/local/include/python3*/patchlevel.h"):
        if found := _PATCH_LEVEL.search(header.read_text()):
            return found.group(1)
    return ""
