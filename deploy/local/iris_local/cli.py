"""The command line: `python3 -m iris_local up`."""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from iris_local import catalog, components, packages
from iris_local.cluster import Cluster
from iris_local.errors import LocalClusterError
from iris_local.images import ImageStore
from iris_local.paths import Paths, cache_root
from iris_local.progress import Progress, format_duration


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 1 on failure or, for `status`, when the cluster is not up."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except LocalClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    return code


def _cluster() -> Cluster:
    return Cluster(Paths(cache_root()), Progress())


def _up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    _cluster().up(project_images=options.images)
    print(f"The cluster is up after {format_duration(time.monotonic() - began)}. To use it:\n\n  {_export()}\n")
    return 0


def _down(_: argparse.Namespace) -> int:
    began = time.monotonic()
    _cluster().down()
    duration = format_duration(time.monotonic() - began)
    print(f"The cluster is down after {duration}; builds and images are kept in {cache_root()}.")
    return 0


def _status(_: argparse.Namespace) -> int:
    status = _cluster().status()
    for name, process in status.processes.items():
        print(f"{name:<26} {f'runs as process {process.pid}' if process else 'does not run'}")
    print(f"{'API server':<26} {'ready' if status.api_ready else 'not ready'}")
    print(f"{'Ingress':<26} {'answers' if status.ingress_ready else 'does not answer'}")
    return 0 if status.up else 1


def _images(options: argparse.Namespace) -> int:
    wanted = catalog.project_images()
    if options.names:
        wanted = [image for image in wanted if any(name in image.name for name in options.names)]
    _cluster().load_images(wanted)
    sizes = ImageStore(Paths(cache_root()), Progress()).sizes()
    for image in wanted:
        print(f"{image.name:<50} {sizes[image.name]}")
    return 0


def _operator_image(_: argparse.Namespace) -> int:
    print(catalog.operator_image().name)
    return 0


def _build(options: argparse.Namespace) -> int:
    for name in options.components or components.CLUSTER:
        print(components.ensure(components.get(name), Paths(cache_root()), Progress()))
    return 0


def _kubeconfig(_: argparse.Namespace) -> int:
    print(_export())
    return 0


def _packages(_: argparse.Namespace) -> int:
    packages.ensure(Progress())
    return 0


def _buildah(options: argparse.Namespace) -> int:
    store = ImageStore(Paths(cache_root()), Progress())
    return subprocess.run([*map(str, store.command), *options.arguments], check=False).returncode


def _export() -> str:
    paths = Paths(cache_root())
    return f'export KUBECONFIG={paths.kubeconfig} PATH="{paths.programs}:$PATH"'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iris_local",
        description="A real Kubernetes on this machine, without a container engine. Everything that it writes is "
        "below $IRIS_CACHE, by default ~/.cache/iris-release.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring the cluster up; safe to repeat, also after a kill")
    up.add_argument("--images", action="store_true", help="build and load the project's images too, meanwhile")
    up.set_defaults(run=_up)
    commands.add_parser("down", help="stop it and leave nothing but the cache").set_defaults(run=_down)
    commands.add_parser("status", help="show what runs; exit code 1 when it is not up").set_defaults(run=_status)

    images = commands.add_parser("images", help="build the project's images and load them into the cluster")
    images.add_argument("names", nargs="*", help="only those whose name contains one of these")
    images.set_defaults(run=_images)
    commands.add_parser("operator-image", help="print the operator's image").set_defaults(run=_operator_image)

    build = commands.add_parser("build", help="build components and print their folders")
    build.add_argument("components", nargs="*", metavar="COMPONENT", help=f"of {', '.join(components.COMPONENTS)}")
    build.set_defaults(run=_build)
    commands.add_parser("packages", help="install the Debian packages that are missing").set_defaults(run=_packages)
    commands.add_parser("kubeconfig", help="print the line that points kubectl here").set_defaults(run=_kubeconfig)

    buildah = commands.add_parser("buildah", help="run buildah on the cluster's image storage")
    buildah.add_argument("arguments", nargs=argparse.REMAINDER)
    buildah.set_defaults(run=_buildah)
    return parser
