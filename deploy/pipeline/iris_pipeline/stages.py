"""The local pipeline: code, tests, image, registry, release, one after the other, on the one-machine cluster."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from iris_demo import setup
from iris_demo.kubeconfig import local_kubeconfig
from iris_demo.scenario import LOUD
from iris_demo.terminal import Terminal
from iris_local import addons, catalog, registry
from iris_local.cluster import Cluster
from iris_local.images import Image, ImageStore
from iris_local.paths import CHECKOUT, Paths, cache_root
from iris_local.progress import Progress
from iris_pipeline import rollout
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import RegistryClient
from iris_pipeline.publish import PublishedImage, Publisher
from iris_pipeline.summary import RolloutResult

TEST_TARGETS = ("lint", "types", "imports", "test-fast")
BASELINE = "1.0.0"


@dataclass(frozen=True)
class Options:
    """What to run. `resource` is a YAML file with the release, in place of the demo's."""

    version: str
    run_tests: bool = True
    set_up_cluster: bool = True
    tag: str | None = None
    resource: Path | None = None
    rate: float = 60.0
    seconds: float = 480.0
    sbom_dir: Path = Path("artifacts/sbom")


def run(options: Options, console: Console) -> RolloutResult:
    """Runs every stage; returns the result of the rollout.

    Raises:
        PipelineError, LocalClusterError, SetupError: a stage before the release failed.
    """
    template = _template(options)
    if options.version not in catalog.MODELS:
        raise PipelineError(f"There is no model {options.version}; there are: {', '.join(catalog.MODELS)}.")
    if options.run_tests:
        _run_tests(console)
    if options.set_up_cluster:
        _heading(console, "cluster and operator")
        setup.prepare(project_images=False)
    first = not asyncio.run(rollout.exists(local_kubeconfig(), template))
    versions = dict.fromkeys([BASELINE, options.version] if first else [options.version])
    models = {dict(image.arguments)["MODEL_VERSION"]: image for image in catalog.inference_images()}
    images = [models[version] for version in versions]
    published = publish(images, console, sbom_dir=options.sbom_dir, tag=options.tag)
    _heading(console, "release, health-checked under traffic")
    config = rollout.RolloutConfig(
        kubeconfig=local_kubeconfig(),
        template=template,
        version=options.version,
        baseline=BASELINE,
        images={version: image.reference for version, image in zip(versions, published, strict=True)},
        pull_secret=registry.PULL_SECRET,
        rate=options.rate,
        seconds=options.seconds,
    )
    return asyncio.run(rollout.release(config, Terminal(console)))


def publish(
    images: Sequence[Image], console: Console, *, sbom_dir: Path, tag: str | None = None
) -> list[PublishedImage]:
    """Builds images, pushes them to the local cluster's registry, and lets the releases' namespace pull them.

    Raises:
        PipelineError, LocalClusterError: an image could not be built or was rejected.
    """
    paths, progress = Paths(cache_root()), Progress()
    kubectl = addons.Kubectl(paths, paths.programs)
    access = registry.get_access(kubectl, paths)
    _heading(console, "images")
    Cluster(paths, progress).build_images(images)
    _heading(console, f"registry {access.address}")
    publisher = Publisher(ImageStore(paths, progress), RegistryClient(access), sbom_dir, progress.log)
    published = publisher.publish(images, tag)
    namespace = LOUD.manifest(BASELINE)["metadata"]["namespace"]
    if kubectl.run("get", "namespace", namespace, "--ignore-not-found").strip():
        registry.grant_pull_access(kubectl, access, namespace)
    return published


def _template(options: Options) -> dict[str, object]:
    if options.resource is None:
        return LOUD.manifest(BASELINE)
    parsed: dict[str, object] = yaml.safe_load(options.resource.read_text(encoding="utf-8"))
    return parsed


def _run_tests(console: Console) -> None:
    for target in TEST_TARGETS:
        _heading(console, f"make {target}")
        if subprocess.run(["make", target], cwd=CHECKOUT, check=False).returncode:
            raise PipelineError(f"make {target} failed: nothing was built or released.")


def _heading(console: Console, text: str) -> None:
    console.print(f"\n== {text}", style="bold")
