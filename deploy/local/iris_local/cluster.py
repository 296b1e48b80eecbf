"""Up, down and status of the whole cluster.

Every step of `up` first checks whether its result exists, so it can be killed at any point and called again. No
progress is stored: only the state of the machine counts.
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
from iris_local.images import BASE, Image, ImageStore
from iris_local.paths import Paths
from iris_local.processes import Process, Supervisor
from iris_local.progress import Progress

SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Status:
    """Which parts of the cluster run."""

    processes: dict[str, Process | None]
    api_ready: bool
    ingress_ready: bool

    @property
    def up(self) -> bool:
        """Whether all parts run."""
        return all(self.processes.values()) and self.api_ready and self.ingress_ready


class Cluster:
    """The one-machine cluster of one cache root."""

    def __init__(self, paths: Paths, progress: Progress) -> None:
        self._paths = paths
        self._progress = progress
        self._supervisor = Supervisor(paths.root, paths.logs)
        self._store = ImageStore(paths, progress)

    def up(self, *, project_images: bool = False) -> None:
        """Brings everything up, optionally with the project's images; what exists already is not changed.

        On a fresh machine three things run concurrently, because none alone uses the processors and the network fully:
        the Go builds one after the other, packages and images, and the cluster as soon as its parts are built.

        Raises:
            LocalClusterError: a step failed; calling it again goes on from there.
        """
        with self._lock():
            self._prepare_folder()
            with ThreadPoolExecutor(1, "builds") as build_pool, ThreadPoolExecutor(1, "images") as image_pool:
                try:
                    self._up(build_pool, image_pool, project_images=project_images)
                except BaseException:
                    # Running tasks are finished, so that no nearly finished build is lost; queued ones are cancelled.
                    for pool in (build_pool, image_pool):
                        pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def down(self) -> None:
        """Stops the cluster and removes everything from the machine; builds and images stay in the cache.

        Raises:
            LocalClusterError: something could not be removed; the message says what.
        """
        with self._lock():
            self._remove_cluster()
        if left := self.leftovers():
            raise LocalClusterError("These are left of the cluster: " + "; ".join(left))

    def status(self) -> Status:
        """Checks processes and endpoints. Changes nothing."""
        servers = self._supervisor.servers()
        api_ready = self._paths.pki.exists() and controlplane.ReadinessProbe(node.ADDRESSES, self._paths.pki).ready()
        return Status({name: servers.get(name) for name in SERVERS}, api_ready, addons.ingress_responds())

    def leftovers(self) -> list[str]:
        """Descriptions of what a cluster has left on the machine: nothing after `down`."""
        mounts = containers.mounts_below(self._paths.root, Path("/proc/self/mountinfo").read_text())
        return [
            *(f"process {process.pid} ({process.program})" for process in self._supervisor.all()),
            *(f"mount {mount}" for mount in mounts),
            *(f"process {pid} of a pod" for pid in cgroups.processes(self._paths.cluster_id)),
        ]

    def load_images(self, images: Sequence[Image]) -> None:
        """Builds images and loads those that are missing into the running cluster.

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
        """Builds images that are not built yet; needs no running cluster.

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

    def _up(self, build_pool: ThreadPoolExecutor, image_pool: ThreadPoolExecutor, *, project_images: bool) -> None:
        builds = {
            name: build_pool.submit(components.ensure, components.get(name), self._paths, self._progress)
            for name in components.CLUSTER
        }
        # Images and the cluster need the packages.
        packages.ensure(self._progress)
        base = image_pool.submit(self._store.ensure_base)
        on_base = [*catalog.store_images(), *(catalog.project_images() if project_images else [])]
        ready = [(image, image_pool.submit(self._store.ensure, image)) for image in on_base]

        cluster = node.Node(self._paths, builds["kubernetes"].result(), self._supervisor)
        with self._progress.step("start the control plane", expected=10):
            self._start_control_plane(cluster)
        runtime = cluster.start_runtime()
        if not (self._paths.cluster / "kubelet").exists():
            runtime.remove_containers()
        self._link_programs(builds["kubernetes"].result())
        kubectl = addons.Kubectl(self._paths, builds["kubernetes"].result())
        addons.apply(kubectl)
        registry.ensure_secrets(kubectl, self._paths)
        self._load_program_images(["pause"], builds, runtime)
        cluster.start_node()
        self._load_program_images(["coredns", "traefik", "registry"], builds, runtime)
        with self._progress.step("wait for DNS, Ingress and registry", expected=20):
            addons.wait_until_ready(kubectl, lambda: self._supervisor.require_running(SERVERS))
        self._load_program_images(["prometheus", "alertmanager", "victorialogs", "otelcol"], builds, runtime)
        base.result()
        for image, built in ready:
            built.result()
            self._store.load([image], runtime)
        self._supervisor.require_running(SERVERS)

    def _start_control_plane(self, cluster: node.Node) -> None:
        if not (self._paths.cluster / node.SAVED_SETTINGS).exists():
            self._remove_dead_cluster()
            network.require_unused()
        cluster.start_control_plane()
        cluster.start_controllers()

    def _remove_dead_cluster(self) -> None:
        """Removes what a killed cluster with another cache root has left; one that runs is not touched."""
        root = network.owner()
        if root is None or root == self._paths.root:
            return
        dead = Cluster(Paths(root), self._progress)
        if dead._supervisor.all() or cgroups.processes(dead._paths.cluster_id):
            return
        self._progress.log(f"remove what the cluster of {root}, none of whose processes runs, has left")
        if dead._paths.cluster.exists():
            dead.down()
        else:
            network.remove()

    def _load_program_images(
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

    def _prepare_folder(self) -> None:
        """Creates the cluster's folder. A folder from before the last boot is removed: nothing in it still runs."""
        boot_id_file = self._paths.cluster / "boot-id"
        current = _BOOT_ID.read_text()
        if self._paths.cluster.exists() and (not boot_id_file.exists() or boot_id_file.read_text() != current):
            self._progress.log("remove the cluster that ran before this machine was rebooted")
            self._remove_cluster()
        self._paths.cluster.mkdir(parents=True, exist_ok=True, mode=0o700)
        boot_id_file.write_text(current)

    def _remove_cluster(self) -> None:
        supervisor = self._supervisor
        servers = supervisor.servers()
        # The kubelet is stopped with the control plane and before the pods, which it would restart.
        supervisor.stop([process for name, process in servers.items() if name != "containerd"], grace_seconds=3)
        sockets = containers.shim_sockets(self._paths)
        cgroups.remove(self._paths.cluster_id)
        supervisor.stop([process for name, process in servers.items() if name == "containerd"])
        supervisor.stop(supervisor.all(), grace_seconds=0)
        containers.unmount_below(self._paths.root)
        network.down(self._paths.cluster / node.SAVED_SETTINGS)
        containers.remove_leftovers(self._paths, sockets)
        if self._paths.cluster.exists():
            shutil.rmtree(self._paths.cluster)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Allows one at a time. The kernel releases the lock when its holder dies."""
        if os.geteuid() != 0:
            raise LocalClusterError("The local cluster needs root: containers, network and mounts are made directly.")
        self._paths.root.mkdir(parents=True, exist_ok=True)
        with (self._paths.root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.log("another iris_local is working on this cluster; waiting for it to finish")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
