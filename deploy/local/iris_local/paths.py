"""The paths of the local cluster. Everything that it writes is below one folder, the cache root."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOCAL = Path(__file__).resolve().parents[1]
CHECKOUT = LOCAL.parents[1]


@dataclass(frozen=True)
class Paths:
    """The folders of one cache root."""

    root: Path

    @property
    def cluster_id(self) -> str:
        """A name for resources outside of the folders, unique for each root, so that `down` removes only its own."""
        return f"iris-local-{hashlib.sha256(bytes(self.root)).hexdigest()[:8]}"

    @property
    def components(self) -> Path:
        """Finished Go builds, one folder for each hash of the inputs."""
        return self.root / "components"

    @property
    def build_scratch(self) -> Path:
        """Scratch space of builds; may be deleted when no build runs."""
        return self.root / "workshop"

    @property
    def programs(self) -> Path:
        """Links to programs for users, such as kubectl."""
        return self.root / "bin"

    @property
    def buildah(self) -> Path:
        """Buildah's storage, separate from the machine's default one."""
        return self.root / "buildah"

    @property
    def containerd(self) -> Path:
        """What containerd stores between runs: the imported images."""
        return self.root / "containerd"

    @property
    def cluster(self) -> Path:
        """The state of the running cluster; `down` deletes it."""
        return self.root / "cluster"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig of the running cluster."""
        return self.cluster / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file for each process of the cluster."""
        return self.cluster / "logs"

    @property
    def pod_logs(self) -> Path:
        """Where the kubelet writes the logs of pods, separate from another cluster on this machine."""
        return self.cluster / "pod-logs"

    @property
    def log_shipper_state(self) -> Path:
        """The log collector's state on the node: it outlives its pods and is deleted with the cluster."""
        return self.cluster / "shipping"

    @property
    def pki(self) -> Path:
        """Keys and certificates of the running cluster."""
        return self.cluster / "pki"

    @property
    def ingress_ca_certificate(self) -> Path:
        """The CA certificate to trust for HTTPS requests to the Ingress controller."""
        return self.pki / "ingress-ca.crt"

    @property
    def registry_config(self) -> Path:
        """The configuration of each registry for containerd and for pushes, in a folder named by its address."""
        return self.cluster / "registries"

    @property
    def containerd_socket(self) -> Path:
        """Where the cluster's containerd listens."""
        return self.cluster / "containerd.sock"

    @property
    def containerd_state(self) -> Path:
        """Mounts and bundles of running containers."""
        return self.cluster / "containerd"


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """`$IRIS_CACHE`, else `iris-release` in the user's cache folder; always absolute."""
    if chosen := environment.get("IRIS_CACHE"):
        return Path(chosen).expanduser().absolute()
    home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    base = Path(environment["XDG_CACHE_HOME"]) if environment.get("XDG_CACHE_HOME") else home / ".cache"
    return base.absolute() / "iris-release"
