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
from iris_demo.kube import local_kubeconfig
from iris_demo.scenario import LOUD
from iris_demo.screen import Screen
from iris_local import addons, catalog, registry
from iris_local.cluster import Cluster
from iris_local.images import Image, Store
from iris_local.paths import CHECKOUT, Paths, cache_root
from iris_local.progress import Progress
from iris_pipeline import rollout
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import Registry
from iris_pipeline.publish import Published, Publisher
from iris_pipeline.summary import Finished

TESTS = ("lint", "types", "imports", "test-fast")
BASELINE = "1.0.0"


@dataclass(frozen=True)
class Options:
    """What to run. `resource` is a release of one's own, in YAML, in place of the demo's."""

    version: str
    tests: bool = True
    cluster: bool = True
    tag: str | None = None
    resource: Path | None = None
    rate: float = 30.0
    seconds: float = 300.0
    lists: Path = Path("artifacts/sbom")


def run(options: Options, console: Console) -> Finished:
    """Runs all of it; returns what became of the release.

    Raises:
        PipelineError, LocalClusterError, SetupError: it did not come as far as a release.
    """
    template = _template(options)
    if options.version not in catalog.MODELS:
        raise PipelineError(f"There is no model {options.version}; there are: {', '.join(catalog.MODELS)}.")
    if options.tests:
        _tests(console)
    if options.cluster:
        _heading(console, "cluster and operator")
        setup.prepare(project_images=False)
    first = not asyncio.run(rollout.exists(local_kubeconfig(), template))
    versions = dict.fromkeys([BASELINE, options.version] if first else [options.version])
    models = {dict(image.arguments)["MODEL_VERSION"]: image for image in catalog.inference_images()}
    images = [models[version] for version in versions]
    published = publish(images, console, lists=options.lists, tag=options.tag)
    _heading(console, "release, health-checked under traffic")
    plan = rollout.Plan(
        kubeconfig=local_kubeconfig(),
        template=template,
        version=options.version,
        baseline=BASELINE,
        images={version: one.reference for version, one in zip(versions, published, strict=True)},
        pull_secret=registry.PULL_SECRET,
        rate=options.rate,
        seconds=options.seconds,
    )
    return asyncio.run(rollout.release(plan, Screen(console)))


def publish(images: Sequence[Image], console: Console, *, lists: Path, tag: str | None = None) -> list[Published]:
    """Builds images and brings them into the local cluster's registry, and lets the releases' namespace pull them.

    Raises:
        PipelineError, LocalClusterError: one was refused, or could not be built.
    """
    paths, progress = Paths(cache_root()), Progress()
    kubectl = addons.Kubectl(paths, paths.programs)
    access = registry.access(kubectl, paths)
    _heading(console, "images")
    Cluster(paths, progress).build_images(images)
    _heading(console, f"registry {access.address}")
    publisher = Publisher(Store(paths, progress), Registry(access), lists, progress.say)
    published = publisher.publish(images, tag)
    namespace = LOUD.manifest(BASELINE)["metadata"]["namespace"]
    if kubectl.text("get", "namespace", namespace, "--ignore-not-found").strip():
        registry.offer(kubectl, access, namespace)
    return published


def _template(options: Options) -> dict[str, object]:
    if options.resource is None:
        return LOUD.manifest(BASELINE)
    parsed: dict[str, object] = yaml.safe_load(options.resource.read_text(encoding="utf-8"))
    return parsed


def _tests(console: Console) -> None:
    for target in TESTS:
        _heading(console, f"make {target}")
        if subprocess.run(["make", target], cwd=CHECKOUT, check=False).returncode:
            raise PipelineError(f"make {target} failed: nothing was built or released.")


def _heading(console: Console, text: str) -> None:
    console.print(f"\n== {text}", style="bold")
