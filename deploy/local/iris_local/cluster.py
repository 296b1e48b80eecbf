"""Up, down and status of the whole cluster.

Every step of `up` looks first whether its result is there, so it can be killed at any point and called again. Nothing
is noted about steps: what counts is the state of the machine.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from iris_local import addons, catalog, cgroups, components, containers, controlplane, network, node, packages, registry
from iris_local.errors import LocalClusterError
from iris_local.images import BASE, Image, Store
from iris_local.paths import Paths
from iris_local.processes import Process, Supervisor
from iris_local.progress import Progress

SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Status:
    """What of the cluster runs."""

    processes: dict[str, Process | None]
    api_ready: bool
    ingress_ready: bool

    @property
    def up(self) -> bool:
        """Whether all of it does."""
        return all(self.processes.values()) and self.api_ready and self.ingress_ready


class Cluster:
    """The one-machine cluster of one cache root."""

    def __init__(self, paths: Paths, progress: Progress) -> None:
        self._paths = paths
        self._progress = progress
        self._supervisor = Supervisor(paths.root, paths.logs)
        self._store = Store(paths, progress)

    def up(self, *, project_images: bool = False) -> None:
        """Brings everything up, and the project's images too if wanted; what is there already stays as it is.

        On a fresh machine three things go on at once, because none alone keeps the processors and the network busy:
        the Go builds one after the other, packages and images, and the cluster as soon as its parts are there.

        Raises:
            LocalClusterError: a step failed; calling it again goes on from there.
        """
        with self._lock():
            self._begin()
            with ThreadPoolExecutor(1, "builds") as builder, ThreadPoolExecutor(1, "images") as painter:
                try:
                    self._up(builder, painter, project_images=project_images)
                except BaseException:
                    # Only what runs is waited for: a build that is nearly done is not thrown away.
                    for pool in (builder, painter):
                        pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def down(self) -> None:
        """Ends the cluster and removes all that it left on the machine; builds and images stay in the cache.

        Raises:
            LocalClusterError: something could not be removed; the text says what.
        """
        with self._lock():
            self._remove_cluster()
        if left := self.remains():
            raise LocalClusterError("These are left of the cluster: " + "; ".join(left))

    def status(self) -> Status:
        """Looks at processes and endpoints. Changes nothing."""
        servers = self._supervisor.servers()
        api_ready = self._paths.pki.exists() and controlplane.Probe(node.ADDRESSES, self._paths.pki).ready()
        return Status({name: servers.get(name) for name in SERVERS}, api_ready, addons.ingress_answers())

    def remains(self) -> list[str]:
        """What of a cluster is on the machine, in words: nothing after `down`."""
        mounts = containers.mounts_below(self._paths.root, Path("/proc/self/mountinfo").read_text())
        return [
            *(f"process {process.pid} ({process.program})" for process in self._supervisor.all()),
            *(f"mount {mount}" for mount in mounts),
            *(f"process {pid} of a pod" for pid in cgroups.members(self._paths.mark)),
        ]

    def load_images(self, images: Sequence[Image]) -> None:
        """Builds images and brings them into the running cluster, where they are not yet there.

        Raises:
            LocalClusterError: the cluster is not up, or a build failed.
        """
        with self._lock():
            runtime = containers.Runtime(self._paths)
            if not runtime.ready():
                raise LocalClusterError("The local cluster is not up: run `make cluster-up`.")
            self._build(images)
            self._store.load(images, runtime)

    def build_images(self, images: Sequence[Image]) -> None:
        """Builds images, where they are not built yet; needs no running cluster.

        Raises:
            LocalClusterError: a build failed.
        """
        with self._lock():
            packages.ensure(self._progress)
            self._build(images)

    def _build(self, images: Sequence[Image]) -> None:
        if any(image.base == BASE for image in images):
            self._store.ensure_base()
        for image in images:
            self._store.ensure(image)

    def _up(self, builder: ThreadPoolExecutor, painter: ThreadPoolExecutor, *, project_images: bool) -> None:
        builds = {
            name: builder.submit(components.ensure, components.get(name), self._paths, self._progress)
            for name in components.CLUSTER
        }
        # Without packages there is nothing to make images or a cluster with.
        packages.ensure(self._progress)
        base = painter.submit(self._store.ensure_base)
        on_base = [*catalog.store_images(), *(catalog.project_images() if project_images else [])]
        ready = [(image, painter.submit(self._store.ensure, image)) for image in on_base]

        cluster = node.Node(self._paths, builds["kubernetes"].result(), self._supervisor)
        with self._progress.step("start the control plane", expected=10):
            self._start_control_plane(cluster)
        runtime = cluster.start_runtime()
        if not (self._paths.cluster / "kubelet").exists():
            runtime.remove_containers()
        self._link_programs(builds["kubernetes"].result())
        kubectl = addons.Kubectl(self._paths, builds["kubernetes"].result())
        addons.apply(kubectl)
        registry.equip(kubectl, self._paths)
        self._load_programs(["pause"], builds, runtime)
        cluster.start_node()
        self._load_programs(["coredns", "traefik", "registry"], builds, runtime)
        with self._progress.step("wait for DNS, Ingress and registry", expected=20):
            addons.wait(kubectl, lambda: self._supervisor.require(SERVERS))
        self._load_programs(["prometheus", "alertmanager", "victorialogs", "otelcol"], builds, runtime)
        base.result()
        for image, built in ready:
            built.result()
            self._store.load([image], runtime)
        self._supervisor.require(SERVERS)

    def _start_control_plane(self, cluster: node.Node) -> None:
        if not (self._paths.cluster / node.NETWORK_NOTES).exists():
            network.check_free()
        cluster.start_control_plane()
        cluster.start_controllers()

    def _load_programs(
        self, names: Sequence[str], builds: dict[str, Future[Path]], runtime: containers.Runtime
    ) -> None:
        for name in names:
            (image,) = catalog.program_images({name: builds[name].result()})
            self._store.ensure(image)
            self._store.load([image], runtime)

    def _link_programs(self, programs: Path) -> None:
        self._paths.programs.mkdir(parents=True, exist_ok=True)
        link = self._paths.programs / "kubectl"
        draft = link.with_name("kubectl.draft")
        draft.unlink(missing_ok=True)
        draft.symlink_to(programs / "kubectl")
        draft.rename(link)

    def _begin(self) -> None:
        """Makes the cluster's folder. One from before the machine's last start holds nothing that still runs."""
        note = self._paths.cluster / "boot-id"
        current = _BOOT_ID.read_text()
        if self._paths.cluster.exists() and (not note.exists() or note.read_text() != current):
            self._progress.say("clear away the cluster that ran before this machine started")
            self._remove_cluster()
        self._paths.cluster.mkdir(parents=True, exist_ok=True, mode=0o700)
        note.write_text(current)

    def _remove_cluster(self) -> None:
        supervisor = self._supervisor
        servers = supervisor.servers()
        # The kubelet goes with the control plane and before the pods, which it would start again.
        supervisor.stop([process for name, process in servers.items() if name != "containerd"], patience=3)
        sockets = containers.shim_sockets(self._paths)
        cgroups.down(self._paths.mark)
        supervisor.stop([process for name, process in servers.items() if name == "containerd"])
        supervisor.stop(supervisor.all(), patience=0)
        containers.unmount_below(self._paths.root)
        network.down(self._paths.cluster / node.NETWORK_NOTES)
        containers.clean(self._paths, sockets)
        if self._paths.cluster.exists():
            shutil.rmtree(self._paths.cluster)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One at a time. The kernel drops the lock when its holder dies."""
        if os.geteuid() != 0:
            raise LocalClusterError("The local cluster needs root: containers, network and mounts are made directly.")
        self._paths.root.mkdir(parents=True, exist_ok=True)
        with (self._paths.root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.say("another iris_local works on this cluster; waiting for it to end")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
