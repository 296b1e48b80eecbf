"""The Debian packages that the cluster needs, installed only where they are missing."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from iris_local.commands import run
from iris_local.errors import LocalClusterError
from iris_local.progress import Progress

# The program or file by which each package is recognised. Programs that were installed in another way are
# accepted too.
PACKAGE_OF: Mapping[str, str] = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "etcd": "etcd-server",
    "ip": "iproute2",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    "socat": "socat",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
# On many machines root's path lacks the folders of administration programs.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = """#!/bin/sh
# Written by iris_local for the time of one apt-get: packages that it installs must start no service.
exit 101
"""


def find(program: str) -> Path:
    """The path of a program.

    Raises:
        LocalClusterError: it is not installed.
    """
    found = shutil.which(program, path=PATH)
    if found is None:
        raise LocalClusterError(f"The program {program} is missing; `python3 -m iris_local up` installs it.")
    return Path(found)


def missing(exists: Callable[[str], bool] | None = None) -> list[str]:
    """The packages that are not installed yet, sorted."""
    is_present = exists or _exists
    return sorted({package for sign, package in PACKAGE_OF.items() if not is_present(sign)})


def ensure(progress: Progress) -> None:
    """Installs what is missing with apt-get, without starting any service.

    Raises:
        LocalClusterError: this is no Debian-like machine, we are not root, or apt-get failed.
    """
    wanted = missing()
    if not wanted:
        return
    if shutil.which("apt-get", path=PATH) is None:
        raise LocalClusterError(f"Please install the contents of these Debian packages: {' '.join(wanted)}")
    with progress.step(f"install {' '.join(wanted)}", expected=40), _without_starting_services():
        lock = "-oDPkg::Lock::Timeout=600"
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        # A run that was killed leaves packages unpacked but not configured.
        run(["dpkg", "--configure", "-a"], environment=quiet)
        run(["apt-get", lock, "update", "--quiet"], environment=quiet)
        run(["apt-get", lock, "install", "--quiet", "--yes", "--no-install-recommends", *wanted], environment=quiet)
    still = missing()
    if still:
        raise LocalClusterError(f"apt-get succeeded, but these packages are not usable: {' '.join(still)}")


@contextmanager
def _without_starting_services() -> Iterator[None]:
    """Keeps the packages' services from starting now, and on machines with systemd from starting at the next boot."""
    before = _units()
    ours = not _POLICY.exists() or _POLICY.read_text() == _POLICY_TEXT
    if ours:
        _POLICY.write_text(_POLICY_TEXT)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
        if Path("/run/systemd/system").exists():
            for unit in sorted(_units() - before):
                run(["systemctl", "disable", "--quiet", unit])


def _units() -> set[str]:
    folder = Path("/lib/systemd/system")
    return {name for name in ("containerd.service", "etcd.service") if (folder / name).exists()}


def _exists(evidence: str) -> bool:
    return Path(evidence).exists() if evidence.startswith("/") else shutil.which(evidence, path=PATH) is not None
