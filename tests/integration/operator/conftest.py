from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.operator.controllers import Kubectl
from support.operator.process import operator_process
from support.servers.kubernetes import KubeApiserver
from support.servers.process import ServerProcess, free_port

ROOT = Path(__file__).resolve().parents[3]
CRD = ROOT / "crds" / "irismodelreleases.yaml"


@pytest.fixture(scope="module")
def kubectl(kube_apiserver: KubeApiserver, request: pytest.FixtureRequest) -> Kubectl:
    """kubectl in a namespace of the module's own, the CRD applied."""
    namespace = request.module.__name__.rsplit(".", 1)[-1].replace("_", "-").removeprefix("test-")[:40]
    kube_apiserver.create_namespace(namespace)
    kubectl = Kubectl(kube_apiserver.kubeconfig, namespace)
    kubectl.run("apply", "--server-side", "-f", str(CRD))
    kubectl.run("wait", "--for=condition=Established", "crd/irismodelreleases.iris.mlrelease.dev", "--timeout=30s")
    return kubectl


@pytest.fixture
def prometheus_url() -> str:
    """An address without a Prometheus behind it; a module overrides it where requests are judged."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def operator(kubectl: Kubectl, tmp_path: Path, prometheus_url: str) -> Iterator[ServerProcess]:
    """The operator with an administrator's rights."""
    process = operator_process(kubectl.kubeconfig, kubectl.namespace, tmp_path, prometheus_url)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def impatient_operator(kubectl: Kubectl, tmp_path: Path, prometheus_url: str) -> Iterator[ServerProcess]:
    """The operator, not started: it is to say that the CRD is missing."""
    says = "kubectl apply --server-side -f crds/"
    process = operator_process(kubectl.kubeconfig, kubectl.namespace, tmp_path, prometheus_url, says=says)
    yield process
    process.stop()


@pytest.fixture
def restricted_operator(
    kube_apiserver: KubeApiserver, kubectl: Kubectl, tmp_path: Path, prometheus_url: str
) -> Iterator[ServerProcess]:
    """The operator with the rights that an installation gives it, and no others."""
    files = [ROOT / "deploy/base/operator" / name for name in ("rbac.yaml", "cluster-rbac.yaml")]
    for item in [item for file in files for item in yaml.safe_load_all(file.read_text())]:
        if not item["kind"].startswith("Cluster"):
            item["metadata"]["namespace"] = kubectl.namespace
        for subject in item.get("subjects", []):
            subject["namespace"] = kubectl.namespace
        kubectl.apply(item)
    kubeconfig = kube_apiserver.kubeconfig_for(kubectl.namespace, "iris-operator")
    process = operator_process(kubeconfig, kubectl.namespace, tmp_path, prometheus_url)
    process.start()
    yield process
    process.stop()
