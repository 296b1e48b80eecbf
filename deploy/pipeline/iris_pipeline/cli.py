"""The command line: `python -m iris_pipeline run`, and its stages, which the GitHub workflows call one by one."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich.console import Console

from iris_demo.kube import ApiError, KubeClient, connect_to_context
from iris_demo.kubeconfig import ForeignContextError
from iris_demo.resources import RELEASES
from iris_demo.setup import SetupError
from iris_demo.terminal import Terminal
from iris_local import catalog
from iris_local.cluster import Cluster
from iris_local.errors import LocalClusterError
from iris_local.images import BASE, Image, ImageStore
from iris_local.paths import Paths, cache_root
from iris_local.progress import Progress
from iris_local.registry import RegistryAccess
from iris_pipeline import releasing, stages, summary
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import RegistryClient
from iris_pipeline.outcome import DesiredModel, desired_model
from iris_pipeline.publish import PublishedImage, Publisher
from iris_pipeline.summary import RolloutResult
from iris_pipeline.waiting import RolloutRecorder, wait_until_decided

EXIT_NOT_PROMOTED = 1
EXIT_CANNOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 on success, 1 when the release was not promoted, 2 when it could not run."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        code: int = options.run(options, console)
    except (PipelineError, LocalClusterError, SetupError, ForeignContextError, ApiError) as error:
        console.print(f"pipeline: {error}", style="bold red", markup=False)
        return EXIT_CANNOT_RUN
    return code


def _run(options: argparse.Namespace, console: Console) -> int:
    chosen = stages.Options(
        version=options.version.removeprefix("v"),
        run_tests=not options.skip_tests,
        set_up_cluster=not options.skip_cluster,
        tag=options.tag,
        resource=options.resource,
        sbom_dir=options.sbom_dir,
    )
    return _report(stages.run(chosen, console), options.summary, console)


def _publish(options: argparse.Namespace, console: Console) -> int:
    images = _images(options)
    if options.registry is None:
        published = stages.publish(images, console, sbom_dir=options.sbom_dir, tag=options.tag)
    else:
        published = _publish_to_registry(options, images)
    _append(options.summary, summary.images(published))
    for image in published:
        console.print(f"{image.reference}  {image.tag}  {image.size}  {image.sbom}")
    if options.outputs:
        with options.outputs.open("a") as sink:
            sink.writelines(_outputs(published))
    return 0


def _publish_to_registry(options: argparse.Namespace, images: Sequence[Image]) -> list[PublishedImage]:
    try:
        access = RegistryAccess(
            options.registry.lower(), os.environ["REGISTRY_USERNAME"], os.environ["REGISTRY_PASSWORD"]
        )
    except KeyError as missing:
        raise PipelineError(f"${missing.args[0]} is not set: a push needs a username and a password.") from None
    paths, progress = Paths(cache_root()), Progress()
    Cluster(paths, progress).build_images(images)
    return Publisher(ImageStore(paths, progress), RegistryClient(access), options.sbom_dir, progress.log).publish(
        images, options.tag
    )


def _images(options: argparse.Namespace) -> list[Image]:
    versions = {version.removeprefix("v") for version in options.version} or set(catalog.MODELS)
    if unknown := sorted(versions - set(catalog.MODELS)):
        raise PipelineError(f"There is no model {', '.join(unknown)}; there are: {', '.join(catalog.MODELS)}.")
    models = catalog.inference_images(options.base)
    selected = [image for image in models if dict(image.arguments)["MODEL_VERSION"] in versions]
    return [catalog.operator_image(options.base), *selected]


def _outputs(published: Sequence[PublishedImage]) -> Iterator[str]:
    """The outputs for later steps of a job: of several models the last one counts."""
    for image in published:
        prefix = image.name.rpartition("/")[2].removeprefix("iris-")
        values = {
            "name": image.name,
            "digest": image.digest,
            "tag": image.tag,
            "sbom": image.sbom,
            "image": image.reference,
        }
        yield from (f"{prefix}-{key}={value}\n" for key, value in values.items())


def _release(options: argparse.Namespace, console: Console) -> int:
    desired = DesiredModel(options.version.removeprefix("v"), options.image)
    if "@sha256:" not in desired.image:
        raise PipelineError(f"{desired.image!r} has no digest: release exactly the image that was tested.")

    async def request() -> None:
        async with _connected() as kube:
            await releasing.request_model(kube, options.namespace, options.name, desired)

    asyncio.run(request())
    console.print(f"requested {desired.version}, {desired.image} for {options.namespace}/{options.name}")
    return 0


def _wait(options: argparse.Namespace, console: Console) -> int:
    async def wait() -> RolloutResult:
        async with _connected() as kube:
            resource = await kube.get(RELEASES, options.namespace, options.name)
            if resource is None:
                raise PipelineError(f"There is no release {options.namespace}/{options.name} to wait for.")
            wanted = desired_model(resource)
            trail = RolloutRecorder(Terminal(console).print_line)
            outcome = await wait_until_decided(
                kube, options.namespace, options.name, wanted, trail, seconds=options.timeout
            )
            return RolloutResult(options.name, wanted, outcome, trail.seconds, trail.weights(), trail.resource)

    return _report(asyncio.run(wait()), options.summary, console)


def _report(result: RolloutResult, page: Path | None, console: Console) -> int:
    text = summary.markdown(result)
    _append(page, text)
    console.print(f"\n{text}", markup=False)
    if "GITHUB_ACTIONS" in os.environ:
        print(summary.annotation(result))
    console.print(summary.one_line(result), style="bold green" if result.promoted else "bold red", markup=False)
    return 0 if result.promoted else EXIT_NOT_PROMOTED


def _append(page: Path | None, text: str) -> None:
    if page:
        with page.open("a", encoding="utf-8") as sink:
            sink.write(text)


@asynccontextmanager
async def _connected() -> AsyncIterator[KubeClient]:
    with _kubeconfig() as path:
        async with connect_to_context(path) as kube:
            yield kube


@contextmanager
def _kubeconfig() -> Iterator[Path]:
    """The kubeconfig: from its content in $IRIS_KUBECONFIG, as in CI, or where kubectl looks for it."""
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
        raise PipelineError(f"There is no kubeconfig at {path}: set KUBECONFIG, or IRIS_KUBECONFIG to its content.")
    yield path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m iris_pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build_options = argparse.ArgumentParser(add_help=False)
    build_options.add_argument("--tag", help="in place of the commit's hash; `latest` is refused")
    build_options.add_argument(
        "--sbom-dir", type=Path, default=Path("artifacts/sbom"), help="folder for the images' SBOMs"
    )
    summary_options = argparse.ArgumentParser(add_help=False)
    summary_options.add_argument(
        "--summary",
        type=Path,
        default=os.environ.get("GITHUB_STEP_SUMMARY"),
        help="a file to append the result to, as Markdown (default $GITHUB_STEP_SUMMARY)",
    )
    release_options = argparse.ArgumentParser(add_help=False)
    release_options.add_argument("--namespace", default="iris", help="namespace of the release (default iris)")
    release_options.add_argument("--name", default="iris", help="name of the release (default iris)")

    run = commands.add_parser(
        "run", parents=[build_options, summary_options], help="run every stage, on the local cluster"
    )
    run.add_argument("--version", default="2.0.0", help="the model to release (default 2.0.0)")
    run.add_argument("--skip-tests", action="store_true", help="the code has been tested already")
    run.add_argument("--skip-cluster", action="store_true", help="the cluster is up and the operator installed")
    run.add_argument("--resource", type=Path, help="a YAML file with the release, in place of the demo's")
    run.set_defaults(run=_run)

    publish = commands.add_parser(
        "publish", parents=[build_options, summary_options], help="build and push the operator and the models"
    )
    publish.add_argument("--version", action="append", default=[], help="only this model; may be repeated")
    publish.add_argument(
        "--registry", help="host and path (default: the local cluster's); $REGISTRY_USERNAME and _PASSWORD"
    )
    publish.add_argument("--base", default=BASE, help="the base image (default: one built on this machine)")
    publish.add_argument(
        "--outputs",
        type=Path,
        default=os.environ.get("GITHUB_OUTPUT"),
        help="a file to append names and digests to, as key=value (default $GITHUB_OUTPUT)",
    )
    publish.set_defaults(run=_publish)

    release = commands.add_parser("release", parents=[release_options], help="request another version of a release")
    release.add_argument("--version", required=True, help="the model's version")
    release.add_argument("--image", required=True, help="the image that serves it, by digest")
    release.set_defaults(run=_release)

    wait = commands.add_parser(
        "wait", parents=[release_options, summary_options], help="wait until a release is decided, and report why"
    )
    wait.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="(default 3600)")
    wait.set_defaults(run=_wait)
    return parser
