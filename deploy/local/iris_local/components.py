"""Builds programs that Debian does not package from their Go modules, once for each state of their inputs."""

import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from iris_local import packages
from iris_local.commands import run
from iris_local.errors import LocalClusterError
from iris_local.paths import LOCAL, Paths
from iris_local.progress import Progress

_MODULE_FOLDERS = LOCAL / "components"
_KUBERNETES = "1.36.3"
_KUBERNETES_MAJOR, _KUBERNETES_MINOR, _ = _KUBERNETES.split(".")


@dataclass(frozen=True)
class Graft:
    """A copy of a module in which files of ours replace some of its own.

    A `replace` in go.mod points at the result: it is the only way to change single packages of a module. The class and
    its fields are part of the build's key (see `key`), so that renaming them rebuilds everything that has one.
    """

    folder: str
    module: str
    version: str
    checksum: str
    leave_out: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """One Go build. `expected` is its time in seconds on two cores with an empty build cache."""

    name: str
    version: str
    expected: float
    module: str = ""
    package: str = "."
    tags: str = ""
    stamps: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    grafts: tuple[Graft, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder in this checkout with its go.mod."""
        return _MODULE_FOLDERS / (self.module or self.name)

    @property
    def flags(self) -> tuple[str, ...]:
        """The arguments of `go build` that affect the result."""
        linker = " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in self.stamps)])
        return ("-trimpath", "-tags", self.tags, "-ldflags", linker)


COMPONENTS: Mapping[str, Component] = {
    component.name: component
    for component in (
        Component(
            "kubernetes",
            _KUBERNETES,
            expected=330,
            stamps=(
                ("k8s.io/component-base/version.gitVersion", f"v{_KUBERNETES}"),
                ("k8s.io/component-base/version.gitMajor", _KUBERNETES_MAJOR),
                ("k8s.io/component-base/version.gitMinor", _KUBERNETES_MINOR),
                ("k8s.io/client-go/pkg/version.gitVersion", f"v{_KUBERNETES}"),
            ),
            links=(
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            ),
        ),
        Component("pause", "1", expected=5),
        Component("coredns", "1.14.7", expected=20),
        Component(
            "traefik",
            "3.7.13",
            expected=170,
            package="github.com/traefik/traefik/v3/cmd/traefik",
            stamps=(("github.com/traefik/traefik/v3/pkg/version.Version", "3.7.13"),),
            grafts=(
                Graft(
                    folder="lego",
                    module="github.com/go-acme/lego/v5",
                    version="v5.4.1",
                    checksum="h1:Jt6xAP9xQrJ3SLLGgxejfDDd3pzdrmuLCWe4oTqHHQc=",
                    leave_out=("cmd/*", "e2e/*", "providers/*", "*_test.go"),
                ),
            ),
        ),
        Component(
            "registry",
            "3.1.2",
            expected=25,
            stamps=(("github.com/distribution/distribution/v3/version.version", "v3.1.2"),),
        ),
        Component(
            "actionlint",
            "1.7.12",
            expected=10,
            package="github.com/rhysd/actionlint/cmd/actionlint",
            stamps=(("github.com/rhysd/actionlint.version", "1.7.12"),),
        ),
        Component(
            "prometheus",
            "3.13.5",
            expected=80,
            package="github.com/prometheus/prometheus/cmd/prometheus",
            # The clients of every cloud's service discovery are most of a full build.
            tags="remove_all_sd,enable_kubernetes_sd",
            stamps=(("github.com/prometheus/common/version.Version", "3.13.5"),),
        ),
        Component(
            "alertmanager",
            "0.34.2",
            expected=40,
            package="github.com/prometheus/alertmanager/cmd/alertmanager",
            stamps=(("github.com/prometheus/common/version.Version", "0.34.2"),),
            grafts=(
                # Its pages are made by npm; the module has only what they are made of.
                Graft(
                    folder="alertmanager",
                    module="github.com/prometheus/alertmanager",
                    version="v0.34.2",
                    checksum="h1:4oOnHs4J41X9n+7MucFjA3I5i5MtasjWTnIY27q5Qkw=",
                    leave_out=("ui/*", "doc/*", "docs/*", "examples/*", "*_test.go"),
                ),
            ),
        ),
        Component(
            "promtool",
            "3.13.5",
            expected=60,
            module="prometheus",
            package="github.com/prometheus/prometheus/cmd/promtool",
            tags="remove_all_sd,enable_kubernetes_sd",
            stamps=(("github.com/prometheus/common/version.Version", "3.13.5"),),
        ),
        Component(
            "kubeconform",
            "0.8.0",
            expected=15,
            package="github.com/yannh/kubeconform/cmd/kubeconform",
            stamps=(("main.version", "0.8.0"),),
        ),
        Component("health", "1", expected=60),
        Component(
            "otelcol",
            "0.160.0",
            expected=165,
            stamps=(("main.version", "0.160.0"),),
        ),
        Component(
            "victorialogs",
            # Of the day on which the pinned commit was made, after 1.51.0.
            "1.51.1-20260624",
            expected=20,
            package="github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs",
            stamps=(
                ("github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version", "victoria-logs-v1.51.1-20260624"),
            ),
        ),
    )
}
# In the order in which the cluster needs them. promtool, kubeconform, actionlint and health are for developers and
# tests.
CLUSTER = (
    "kubernetes",
    "pause",
    "coredns",
    "traefik",
    "registry",
    "prometheus",
    "alertmanager",
    "victorialogs",
    "otelcol",
)


def get(name: str) -> Component:
    """The component of that name.

    Raises:
        LocalClusterError: there is none; the message lists them.
    """
    if name not in COMPONENTS:
        raise LocalClusterError(f"There is no component {name}; there are: {', '.join(COMPONENTS)}.")
    return COMPONENTS[name]


def location(component: Component, paths: Paths) -> Path:
    """The folder with the component's program when it is built from the current files."""
    return paths.components / f"{component.name}-{key(component, _go_version())}"


def ensure(component: Component, paths: Paths, progress: Progress) -> Path:
    """Builds a component unless it exists already; returns the folder with its program, named like the component.

    Raises:
        LocalClusterError: Go is missing or the build failed.
    """
    target = location(component, paths)
    if not target.exists():
        with progress.step(f"build {component.name} {component.version}", expected=component.expected):
            _build(component, paths, target)
    return target


def key(component: Component, go_version: str) -> str:
    """A hash of everything that affects the program: our files, the flags and the compiler."""
    digest = hashlib.sha256("\0".join([go_version, component.package, *component.flags]).encode())
    for graft in component.grafts:
        digest.update(repr(graft).encode())
    for path in _sources(component.folder):
        digest.update(f"\0{path.relative_to(component.folder)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _build(component: Component, paths: Paths, target: Path) -> None:
    build_dir = paths.build_scratch / component.name
    shutil.rmtree(build_dir, ignore_errors=True)
    shutil.copytree(component.folder, build_dir)
    for graft in component.grafts:
        _copy_module(graft, build_dir)
    output = paths.build_scratch / f"{component.name}.out"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    run(
        # With a lower priority than the cluster that is started meanwhile, and its user.
        ["nice", "-n", "5", "go", "build", *component.flags, "-o", output / component.name, component.package],
        cwd=build_dir,
        environment=_go_environment(),
        log=paths.build_scratch / f"{component.name}.log",
    )
    for link in component.links:
        (output / link).symlink_to(component.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The last step, atomically: a folder of the final name is always a complete build.
    output.rename(target)
    shutil.rmtree(build_dir, ignore_errors=True)


def _copy_module(graft: Graft, build_dir: Path) -> None:
    """Copies a module into the build folder, except the files that ours replace.

    Outside of a module `go mod download` checks the copy against the public checksum database; our own checksum
    makes the build independent of that database.
    """
    wanted = f"{graft.module}@{graft.version}"
    download = json.loads(
        run(["go", "mod", "download", "-json", wanted], cwd=build_dir.parent, environment=_go_environment())
    )
    if download["Sum"] != graft.checksum:
        raise LocalClusterError(f"{wanted} has the checksum {download['Sum']}, not {graft.checksum}: it was changed.")
    source = Path(download["Dir"])
    for path in _sources(source):
        relative = path.relative_to(source)
        copy = build_dir / graft.folder / relative
        if copy.exists() or any(fnmatch.fnmatch(str(relative), pattern) for pattern in graft.leave_out):
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Copies the contents only, because files of the module cache are read-only.
        shutil.copyfile(path, copy)


def _go_environment() -> dict[str, str]:
    return {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
        # Fewer collections: half a minute of a cold Kubernetes build, for about 1 GiB of memory.
        "GOGC": os.environ.get("GOGC", "400"),
    }


def _go_version() -> str:
    if shutil.which("go", path=packages.PATH) is None:
        raise LocalClusterError("Go is missing: install Go 1.26 or later, the local cluster is built from Go modules.")
    return run(["go", "env", "GOVERSION", "GOOS", "GOARCH"], environment={"GOWORK": "off"})
