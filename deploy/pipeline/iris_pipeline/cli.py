"""The command line: `python -m iris_pipeline run`, and its parts, which the workflows of GitHub call one by one."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich.console import Console

from iris_demo.kube import RELEASES, ApiError, ForeignContextError, Kube, connect_anywhere
from iris_demo.screen import Screen
from iris_demo.setup import SetupError
from iris_local import catalog
from iris_local.cluster import Cluster
from iris_local.errors import LocalClusterError
from iris_local.images import BASE, Image, Store
from iris_local.paths import Paths, cache_root
from iris_local.progress import Progress
from iris_local.registry import Access
from iris_pipeline import releasing, stages, summary
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import Registry
from iris_pipeline.outcome import Wanted, wanted_of
from iris_pipeline.publish import Published, Publisher
from iris_pipeline.summary import Finished
from iris_pipeline.waiting import Trail, until_decided

EXIT_NOT_PROMOTED = 1
EXIT_UNABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it did what was asked, 1 when the release was not promoted, 2 when it could not run."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        code: int = options.run(options, console)
    except (PipelineError, LocalClusterError, SetupError, ForeignContextError, ApiError) as error:
        console.print(f"pipeline: {error}", style="bold red", markup=False)
        return EXIT_UNABLE
    return code


def _run(options: argparse.Namespace, console: Console) -> int:
    chosen = stages.Options(
        version=options.version.removeprefix("v"),
        tests=not options.skip_tests,
        cluster=not options.skip_cluster,
        tag=options.tag,
        resource=options.resource,
        lists=options.sbom_dir,
    )
    return _tell(stages.run(chosen, console), options.summary, console)


def _publish(options: argparse.Namespace, console: Console) -> int:
    images = _images(options)
    if options.registry is None:
        published = stages.publish(images, console, lists=options.sbom_dir, tag=options.tag)
    else:
        published = _publish_elsewhere(options, images)
    _append(options.summary, summary.images(published))
    for one in published:
        console.print(f"{one.reference}  {one.tag}  {one.size}  {one.sbom}")
    if options.outputs:
        with options.outputs.open("a") as sink:
            sink.writelines(_outputs(published))
    return 0


def _publish_elsewhere(options: argparse.Namespace, images: Sequence[Image]) -> list[Published]:
    try:
        access = Access(options.registry.lower(), os.environ["REGISTRY_USERNAME"], os.environ["REGISTRY_PASSWORD"])
    except KeyError as missing:
        raise PipelineError(f"${missing.args[0]} is not set: it takes a name and a password to push.") from None
    paths, progress = Paths(cache_root()), Progress()
    Cluster(paths, progress).build_images(images)
    return Publisher(Store(paths, progress), Registry(access), options.sbom_dir, progress.say).publish(
        images, options.tag
    )


def _images(options: argparse.Namespace) -> list[Image]:
    versions = {version.removeprefix("v") for version in options.version} or set(catalog.MODELS)
    if unknown := sorted(versions - set(catalog.MODELS)):
        raise PipelineError(f"There is no model {', '.join(unknown)}; there are: {', '.join(catalog.MODELS)}.")
    models = catalog.inference_images(options.base)
    wanted = [image for image in models if dict(image.arguments)["MODEL_VERSION"] in versions]
    return [catalog.operator_image(options.base), *wanted]


def _outputs(published: Sequence[Published]) -> Iterator[str]:
    """What later steps of a job read: of several models the last one counts."""
    for one in published:
        image = one.name.rpartition("/")[2].removeprefix("iris-")
        values = {"name": one.name, "digest": one.digest, "tag": one.tag, "sbom": one.sbom, "image": one.reference}
        yield from (f"{image}-{key}={value}\n" for key, value in values.items())


def _release(options: argparse.Namespace, console: Console) -> int:
    wanted = Wanted(options.version.removeprefix("v"), options.image)
    if "@sha256:" not in wanted.image:
        raise PipelineError(f"{wanted.image!r} names no digest: the image that was tested is the one to release.")

    async def ask() -> None:
        async with _cluster() as kube:
            await releasing.ask_for(kube, options.namespace, options.name, wanted)

    asyncio.run(ask())
    console.print(f"{options.namespace}/{options.name} shall serve {wanted.version}, {wanted.image}")
    return 0


def _wait(options: argparse.Namespace, console: Console) -> int:
    async def wait() -> Finished:
        async with _cluster() as kube:
            resource = await kube.get(RELEASES, options.namespace, options.name)
            if resource is None:
                raise PipelineError(f"There is no release {options.namespace}/{options.name} to wait for.")
            wanted = wanted_of(resource)
            trail = Trail(Screen(console).line)
            outcome = await until_decided(kube, options.namespace, options.name, wanted, trail, seconds=options.timeout)
            return Finished(options.name, wanted, outcome, trail.seconds, trail.weights(), trail.resource)

    return _tell(asyncio.run(wait()), options.summary, console)


def _tell(finished: Finished, target: Path | None, console: Console) -> int:
    text = summary.markdown(finished)
    _append(target, text)
    console.print(f"\n{text}", markup=False)
    if "GITHUB_ACTIONS" in os.environ:
        print(summary.annotation(finished))
    console.print(summary.sentence(finished), style="bold green" if finished.promoted else "bold red", markup=False)
    return 0 if finished.promoted else EXIT_NOT_PROMOTED


def _append(page: Path | None, text: str) -> None:
    if page:
        with page.open("a", encoding="utf-8") as sink:
            sink.write(text)


@asynccontextmanager
async def _cluster() -> AsyncIterator[Kube]:
    with _kubeconfig() as path:
        async with connect_anywhere(path) as kube:
            yield kube


@contextmanager
def _kubeconfig() -> Iterator[Path]:
    """The file that says which cluster: from its text in $IRIS_KUBECONFIG, as CI has it, or where kubectl looks."""
    text = os.environ.get("IRIS_KUBECONFIG")
    if text:
        with tempfile.TemporaryDirectory(prefix="iris-kubeconfig-") as folder:
            path = Path(folder) / "config"
            path.write_text(text)
            yield path
        return
    named = os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config"
    path = Path(named)
    if not path.is_file():
        raise PipelineError(f"There is no kubeconfig at {path}: set KUBECONFIG, or IRIS_KUBECONFIG to its text.")
    yield path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m iris_pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    building = argparse.ArgumentParser(add_help=False)
    building.add_argument("--tag", help="in place of the commit's hash; `latest` is refused")
    building.add_argument(
        "--sbom-dir", type=Path, default=Path("artifacts/sbom"), help="where the lists of the images' contents go"
    )
    telling = argparse.ArgumentParser(add_help=False)
    telling.add_argument(
        "--summary",
        type=Path,
        default=os.environ.get("GITHUB_STEP_SUMMARY"),
        help="a file to append the result to, as Markdown (default $GITHUB_STEP_SUMMARY)",
    )
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--namespace", default="iris", help="where the release is (default iris)")
    named.add_argument("--name", default="iris", help="what it is called (default iris)")

    run = commands.add_parser("run", parents=[building, telling], help="all of it, on the local cluster")
    run.add_argument("--version", default="2.0.0", help="the model to release (default 2.0.0)")
    run.add_argument("--skip-tests", action="store_true", help="the code was judged already")
    run.add_argument("--skip-cluster", action="store_true", help="the cluster is up, and the operator in it")
    run.add_argument("--resource", type=Path, help="a release of your own to begin with, in YAML")
    run.set_defaults(run=_run)

    publish = commands.add_parser(
        "publish", parents=[building, telling], help="build and push the operator and the models"
    )
    publish.add_argument("--version", action="append", default=[], help="only this model; may be repeated")
    publish.add_argument(
        "--registry", help="host and path (default: the local cluster's); $REGISTRY_USERNAME and _PASSWORD"
    )
    publish.add_argument("--base", default=BASE, help="the image below ours (default: one made on this machine)")
    publish.add_argument(
        "--outputs",
        type=Path,
        default=os.environ.get("GITHUB_OUTPUT"),
        help="a file to append names and digests to, as key=value (default $GITHUB_OUTPUT)",
    )
    publish.set_defaults(run=_publish)

    release = commands.add_parser("release", parents=[named], help="ask a release for another version")
    release.add_argument("--version", required=True, help="the model's version")
    release.add_argument("--image", required=True, help="the image that serves it, by digest")
    release.set_defaults(run=_release)

    wait = commands.add_parser("wait", parents=[named, telling], help="wait until a release is decided, and say why")
    wait.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="(default 3600)")
    wait.set_defaults(run=_wait)
    return parser
