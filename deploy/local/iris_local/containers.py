"""The cluster's containerd: its configuration, its images, and the cleanup after its containers."""

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from iris_local import network, packages
from iris_local.commands import run, succeeds
from iris_local.paths import Paths

PLUGINS = Path("/usr/lib/cni")
# Where libcni, containerd's shims and the kubelet write, whatever is configured.
_CNI_RESULTS = Path("/var/lib/cni/results")
_SHIM_SOCKETS = Path("/run/containerd/s")
_LOG_LINKS = Path("/var/log/containers")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")


def configuration(paths: Paths, pause_image: str, runc: Path) -> str:
    """The text of containerd's config.toml: nothing is shared with another containerd on this machine."""
    return f"""\
version = 2
root = "{paths.containerd}"
state = "{paths.containerd_state}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{paths.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{paths.cluster / "opt"}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  # Machines without CAP_SYS_RESOURCE forbid a score below that of containerd; where it is allowed nothing changes.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  tolerate_missing_hugetlb_controller = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{paths.cluster / "cni"}"

  # One folder for each registry that it may know: its address, and the authority behind its certificate.
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{paths.registry_config}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        Root = "{paths.cluster / "runc"}"
        SystemdCgroup = false
"""


def pod_network(paths: Paths) -> str:
    """The CNI configuration: a pair of devices between each pod and the node, and routes.

    Without a bridge every packet passes the node's routing, where kube-proxy's rules are, whatever br_netfilter does.
    """
    plugin = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(paths.cluster / "addresses"),
            "ranges": [[{"subnet": network.POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": paths.cluster_id, "plugins": [plugin]}, indent=2)


class Runtime:
    """The running containerd, controlled with ctr."""

    def __init__(self, paths: Paths) -> None:
        self._ctr: list[str | Path] = [
            packages.find("ctr"),
            "--address",
            paths.containerd_socket,
            "--namespace",
            "k8s.io",
        ]

    def ready(self) -> bool:
        """Whether it responds."""
        return succeeds([*self._ctr, "version"])

    def images(self) -> dict[str, str]:
        """The digest of every image, by name."""
        lines = run([*self._ctr, "images", "ls"]).splitlines()[1:]
        return {fields[0]: fields[2] for fields in map(str.split, lines)}

    def blobs(self) -> set[str]:
        """The digests of all blobs of its images."""
        return set(run([*self._ctr, "content", "ls", "--quiet"]).split())

    def load(self, archive: Path, names: Sequence[str]) -> None:
        """Imports the images of an OCI archive; existing blobs are not stored twice."""
        run([*self._ctr, "images", "import", archive])
        there = self.images()
        for name in names[1:]:
            if there.get(name) != there[names[0]]:
                run([*self._ctr, "images", "tag", "--force", names[0], name])

    def remove_images(self, names: Sequence[str]) -> None:
        """Removes images by name."""
        if names:
            run([*self._ctr, "images", "rm", *names])

    def remove_containers(self) -> None:
        """Removes an earlier cluster's containers from the store; none of them may run."""
        names = run([*self._ctr, "containers", "ls", "--quiet"]).split()
        if names:
            run([*self._ctr, "containers", "rm", *names])


def shim_sockets(paths: Paths) -> list[Path]:
    """The sockets of our shims, which are in a folder that all containerds of the machine share."""
    addresses = paths.containerd_state.glob("io.containerd.runtime.v2.task/k8s.io/*/address")
    sockets = (Path(address.read_text().strip().removeprefix("unix://")) for address in addresses)
    return [socket for socket in sockets if socket.parent == _SHIM_SOCKETS]


def remove_leftovers(paths: Paths, sockets: Sequence[Path]) -> None:
    """Removes what dead containers leave outside of the cluster's folders, and their records in the store."""
    for socket in sockets:
        socket.unlink(missing_ok=True)
    for result in _CNI_RESULTS.glob(f"{paths.cluster_id}-*-eth0"):
        container = result.name.removeprefix(f"{paths.cluster_id}-").removesuffix("-eth0")
        (_CNI_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        result.unlink()
    for link in _LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(paths.cluster):
            link.unlink()
    # Ours, because `up` refuses a machine on which another kubelet runs.
    (_DEVICE_PLUGINS / "kubelet.sock").unlink(missing_ok=True)
    for folder in (
        *(_SHIM_SOCKETS, _SHIM_SOCKETS.parent),
        *(_CNI_RESULTS, _CNI_RESULTS.parent),
        *(_DEVICE_PLUGINS, _DEVICE_PLUGINS.parent),
        _LOG_LINKS,
    ):
        with contextlib.suppress(OSError):  # another program has files in it
            folder.rmdir()
    for kind in ("sandboxes", "containers"):
        shutil.rmtree(paths.containerd / "io.containerd.grpc.v1.cri" / kind, ignore_errors=True)


def unmount_below(folder: Path) -> None:
    """Unmounts everything below a folder, the innermost first."""
    for point in mounts_below(folder, Path("/proc/self/mountinfo").read_text()):
        if not succeeds(["umount", point]):
            run(["umount", "--lazy", point])


def mounts_below(folder: Path, mountinfo: str) -> list[Path]:
    """The mount points below a folder in the text of /proc/self/mountinfo, the latest first."""
    points = (Path(_decode_path(line.split()[4])) for line in mountinfo.splitlines())
    return [point for point in points if point.is_relative_to(folder)][::-1]


def _decode_path(field: str) -> str:
    """Decodes the octal escapes that the kernel writes for blanks and backslashes in a path."""
    return os.fsdecode(field.encode().decode("unicode_escape").encode("latin-1"))
