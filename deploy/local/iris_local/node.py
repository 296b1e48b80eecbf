"""The node: the processes of control plane and node, and their configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iris_local import cgroups, containers, controlplane, kubeconfig, network, packages, pki, registry
from iris_local.controlplane import Addresses
from iris_local.paths import Paths
from iris_local.processes import Supervisor

NODE = "iris-local"
PAUSE_IMAGE = "localhost/pause:1"
# Not the default ports, so that they do not conflict with another cluster on this machine.
ADDRESSES = Addresses(
    host=network.NODE_ADDRESS,
    port=16443,
    etcd_port=12379,
    etcd_peer_port=12380,
    service_range=network.SERVICE_RANGE,
    service_host=network.API_SERVICE,
)
# The file in the cluster's folder with the kernel's original settings.
SAVED_SETTINGS = "before.json"
# The default port: the address that it listens on is the cluster's own, and Prometheus scrapes it in any cluster.
KUBELET_PORT = 10250
_RESOLVERS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Node:
    """The processes of the one-machine cluster."""

    paths: Paths
    programs: Path
    supervisor: Supervisor

    def start_control_plane(self) -> None:
        """Starts etcd and the API server, and waits for it."""
        identities = pki.identities(ADDRESSES.names, NODE, network.NODE_ADDRESS)
        pki.ensure(self.paths.pki, identities)
        network.up(self.paths.cluster / SAVED_SETTINGS, self.paths.root)
        data = self.paths.cluster / "etcd"
        controlplane.ensure(self.supervisor, ADDRESSES, self.paths.pki, data, self.programs)
        kubeconfig.write(self.paths.kubeconfig, ADDRESSES.url, self.paths.pki, "admin")

    def start_controllers(self) -> None:
        """Starts the controller manager and the scheduler, which wait for the API server themselves."""
        for name in ("controller-manager", "scheduler"):
            self._kubeconfig(name)
        self.supervisor.ensure("kube-controller-manager", self._controller_manager())
        self.supervisor.ensure("kube-scheduler", self._scheduler())

    def start_runtime(self) -> containers.Runtime:
        """Starts containerd and waits for it."""
        runc = packages.find("runc")
        config = self._write_file("containerd.toml", containers.configuration(self.paths, PAUSE_IMAGE, runc))
        self._write_file("cni/iris-local.conflist", containers.pod_network(self.paths))
        registry.configure_containerd(self.paths)
        program = packages.find("containerd")
        self.supervisor.ensure("containerd", [program, "--config", config], inputs=[config])
        runtime = containers.Runtime(self.paths)
        self.supervisor.wait("containerd", runtime.ready, _TIMEOUT_SECONDS)
        return runtime

    def start_node(self) -> None:
        """Starts the kubelet and kube-proxy; containerd and the API server must run."""
        cgroups.create(self.paths.cluster_id)
        kubelet = self._write_file("kubelet.json", json.dumps(kubelet_configuration(self.paths), indent=2))
        self.supervisor.ensure(
            "kubelet",
            [
                self.programs / "kubelet",
                f"--config={kubelet}",
                f"--kubeconfig={self._kubeconfig('kubelet')}",
                f"--root-dir={self.paths.cluster / 'kubelet'}",
                f"--cert-dir={self.paths.cluster / 'kubelet' / 'pki'}",
                f"--hostname-override={NODE}",
                f"--node-ip={network.NODE_ADDRESS}",
                # For cAdvisor, which gets the metadata of containers from containerd at this address only.
                f"--containerd={self.paths.containerd_socket}",
            ],
            inputs=[kubelet],
        )
        proxy_access = self._kubeconfig("proxy")
        proxy = self._write_file("proxy.json", json.dumps(proxy_configuration(proxy_access), indent=2))
        self.supervisor.ensure("kube-proxy", [self.programs / "kube-proxy", f"--config={proxy}"], inputs=[proxy])

    def _controller_manager(self) -> list[str | Path]:
        access = self.paths.cluster / "controller-manager.kubeconfig"
        return [
            self.programs / "kube-controller-manager",
            f"--kubeconfig={access}",
            f"--authentication-kubeconfig={access}",
            f"--authorization-kubeconfig={access}",
            "--bind-address=127.0.0.1",
            "--secure-port=11257",
            # There is only one instance: an election would only delay the start.
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self.paths.pki / 'service-accounts.key'}",
            f"--root-ca-file={self.paths.pki / 'ca.crt'}",
            f"--flex-volume-plugin-dir={self.paths.cluster / 'volume-plugins'}",
            "--profiling=false",
        ]

    def _scheduler(self) -> list[str | Path]:
        access = self.paths.cluster / "scheduler.kubeconfig"
        return [
            self.programs / "kube-scheduler",
            f"--kubeconfig={access}",
            f"--authentication-kubeconfig={access}",
            f"--authorization-kubeconfig={access}",
            "--bind-address=127.0.0.1",
            "--secure-port=11259",
            "--leader-elect=false",
            "--profiling=false",
        ]

    def _kubeconfig(self, identity: str) -> Path:
        path = self.paths.cluster / f"{identity}.kubeconfig"
        kubeconfig.write(path, ADDRESSES.url, self.paths.pki, identity)
        return path

    def _write_file(self, name: str, text: str) -> Path:
        """Writes a file of the cluster, unless it has this content already."""
        path = self.paths.cluster / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # kube-proxy exits when its file is written, even with the same content.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return path


def kubelet_configuration(paths: Paths) -> Mapping[str, Any]:
    """The KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.NODE_ADDRESS,
        "port": KUBELET_PORT,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 11248,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(paths.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(paths.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(paths.pki / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{paths.containerd_socket}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [network.DNS_SERVICE],
        "resolvConf": str(next((path for path in _RESOLVERS if path.exists()), "")),
        "podLogsDir": str(paths.pod_logs),
        "volumePluginDir": str(paths.cluster / "volume-plugins"),
        "maxPods": 110,
        # How long it may take until a pod sees a change of a ConfigMap.
        "syncFrequency": "10s",
        # One machine with either version of control groups, with or without swap and systemd.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{paths.cluster_id}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        # Images loaded under these names may be used by every pod: by default that ends once a pod has pulled the same
        # image from the registry. Images from the registry need the Secret, also when the node has them already.
        "imagePullCredentialsVerificationPolicy": "NeverVerifyAllowlistedImages",
        "preloadedImagesVerificationAllowlist": ["localhost/*"],
        # Images cannot be pulled again, so none may be collected; pods are evicted only when the disk is really full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }


def proxy_configuration(access: Path) -> Mapping[str, Any]:
    """The KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(access)},
        "mode": "iptables",
        "hostnameOverride": NODE,
        "bindAddress": "127.0.0.1",
        "healthzBindAddress": "127.0.0.1:11256",
        "metricsBindAddress": "127.0.0.1:11249",
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": network.POD_RANGE,
        # Node ports are reachable from this machine only.
        "nodePortAddresses": ["127.0.0.0/8"],
        "iptables": {"localhostNodePorts": True, "minSyncPeriod": "200ms"},
        "oomScoreAdj": 0,
        # The cluster must not change the machine's connection limits.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
