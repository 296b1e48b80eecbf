"""Every manifest of this project against the schemas of the API server that the tests run, with no field left over."""

from __future__ import annotations

import copy
import json
import subprocess
import time
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from iris_install import overlay
from iris_install.kubectl import Kubectl
from iris_operator.adapters.routers.ingress import canary_ingress, primary_ingress
from iris_operator.api import names
from iris_operator.engine.manifests import control_group, deployment, service
from iris_operator.engine.release import RevisionInputs, parse_release
from iris_operator.engine.scaling_manifests import autoscaler, disruption_budget
from support.servers import schemas
from support.servers.kubernetes import KubeApiserver
from support.servers.tools import component

Manifest = dict[str, Any]
EXAMPLES = sorted(
    [*(overlay.ROOT / "deploy/demo/iris_demo/releases").glob("*.yaml"), *(overlay.ROOT / "deploy/examples").glob("*")]
)
PATIENCE_SECONDS = 60.0


def documents(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def rendered() -> list[Manifest]:
    """What is installed, and what can be beside it."""
    kubectl, image = Kubectl(component("kubectl")), "registry.example.com/iris-operator:1.2.3"
    records = kubectl.run("kustomize", str(overlay.ROOT / "deploy" / "records"))
    overlays = [
        document for name in ("local", "production") for document in documents(overlay.render(kubectl, name, image))
    ]
    return overlays + documents(records) + documents((overlay.ROOT / "deploy/local/manifests/traefik.yaml").read_text())


def made_by_the_operator(example: Manifest) -> list[Manifest]:
    """All objects of a release that has everything."""
    body = copy.deepcopy(example)
    body["metadata"] |= {"uid": "0", "generation": 1, "resourceVersion": "1"}
    release = parse_release(body)
    inputs, scaling = RevisionInputs.of(release.spec), release.spec.serving.autoscaling
    assert scaling is not None
    revision = inputs.ref.revision
    return [
        deployment(release, inputs, "canary", 3, None),
        deployment(release, inputs, "stable", None, None),
        control_group(release, inputs, "0" * 10, 3),
        service(release, names.stable_service(release.name), revision),
        service(release, names.canary_service(release.name), revision, with_control=True),
        primary_ingress(release),
        canary_ingress(release, 20),
        autoscaler(release, scaling, revision, scale_down_allowed=False),
        disruption_budget(release, revision, None),
        disruption_budget(release, revision, 2),
    ]


@pytest.fixture(scope="module")
def everything() -> list[Manifest]:
    examples = [document for path in EXAMPLES for document in documents(path.read_text())]
    full = next(item for item in examples if "autoscaling" in item["spec"]["serving"])
    return [*rendered(), *examples, *made_by_the_operator(full)]


@pytest.fixture(scope="module")
def folder(kube_apiserver: KubeApiserver, everything: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    kube_apiserver.install_resource()
    folder = tmp_path_factory.mktemp("schemas")
    kinds = {(item["apiVersion"], item["kind"]) for item in everything}
    # The definition of a resource is published a moment after it is established.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            schemas.write(kube_apiserver, folder, kinds)
        except (urllib.error.HTTPError, KeyError):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return folder


def problems(folder: Path, objects: Sequence[Manifest]) -> dict[str, str]:
    """What kubeconform has against the objects, by kind and name; every one of them has been looked at."""
    done = subprocess.run(
        [
            component("kubeconform"),
            "-strict",
            "-output=json",
            "-verbose",
            f"-schema-location={folder}/{schemas.LOCATION}",
        ],
        input=yaml.safe_dump_all(objects),
        capture_output=True,
        text=True,
        check=False,
    )
    results = json.loads(done.stdout)["resources"]
    assert len(results) == len(objects), done.stderr
    return {f"{r['kind']}/{r['name']}": r["msg"] for r in results if r["status"] != "statusValid"}


def test_every_manifest_is_valid_to_the_last_field(folder: Path, everything: list[Manifest]) -> None:
    assert problems(folder, everything) == {}


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("Deployment", ["spec", "template", "spec", "containers", 0, "resource"], {}, "resource"),
        ("Deployment", ["spec", "replicas"], "two", "replicas"),
        ("NetworkPolicy", ["spec", "egres"], [], "egres"),
        ("IrisModelRelease", ["spec", "rollout", "step"], [], "step"),
        ("IrisModelRelease", ["spec", "analysis", "checks", "errorRate"], {"maxHarm": "low"}, "maxHarm"),
        ("HorizontalPodAutoscaler", ["spec", "maxReplica"], 3, "maxReplica"),
    ],
)
def test_a_field_that_is_misspelt_or_of_another_type_is_named(
    folder: Path, everything: list[Manifest], kind: str, path: list[Any], value: Any, said: str
) -> None:
    broken = copy.deepcopy(next(item for item in everything if item["kind"] == kind))
    place: Any = broken
    for step in path[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[path[-1]] = value
    (message,) = problems(folder, [broken]).values()
    assert said in message


def test_every_manifest_is_accepted_by_the_api_server(
    kube_apiserver: KubeApiserver, everything: list[Manifest]
) -> None:
    """What a schema cannot say: rules in CEL, names, references between fields. Nothing is stored."""
    kube_apiserver.install_resource()
    missing = {item["metadata"].get("namespace") for item in everything} - {None, "kube-system"}
    for namespace in sorted(missing):
        kube_apiserver.ensure_namespace(namespace)
    kubectl = [component("kubectl"), f"--kubeconfig={kube_apiserver.kubeconfig}"]
    dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename=-"]
    done = subprocess.run(
        [*kubectl, *dry], input=yaml.safe_dump_all(everything), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(everything)
