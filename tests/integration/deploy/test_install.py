"""What `make deploy` does to a real API server. Nothing runs behind it, so pods never come up here."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from iris_local import pki
from iris_local.paths import Paths
from support.servers.kubernetes import KubeApiserver
from support.servers.tools import component

ROOT = Path(__file__).resolve().parents[3]
OPERATOR = "system:serviceaccount:iris-system:iris-operator"
IMAGE = "registry.example.com/iris-operator:1.2.3"


class Installer:
    """The command line, with its own KUBECONFIG and no other tool of this machine."""

    def __init__(self, kubeconfig: Path, cache: Path) -> None:
        self._environment = {
            **os.environ,
            "IRIS_CACHE": str(cache),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "deploy/install"), str(ROOT / "deploy/local")]),
            "KUBECONFIG": str(kubeconfig),
            "KUBECTL": component("kubectl"),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "iris_install", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [self._environment["KUBECTL"], *arguments],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or arguments[0] == "auth", done.stderr
        return done.stdout

    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "secrets", "--namespace=iris", "--output=json"))
        return {item["metadata"]["name"]: item["data"] for item in found["items"]}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make cluster-up` leaves for an installation: who signs the certificate of its Ingresses."""
    cache = tmp_path_factory.mktemp("cache")
    pki.ensure(Paths(cache).pki, pki.identities(["IP:127.0.0.1"], "node", "10.0.0.1"))
    return cache


@pytest.fixture(scope="module")
def installer(kube_apiserver: KubeApiserver, cache: Path) -> Installer:
    return Installer(kube_apiserver.kubeconfig, cache)


@pytest.fixture(scope="module")
def installed(installer: Installer) -> Installer:
    # Its wait for pods is in vain; what is looked at here is what it applied.
    installer.run("deploy", "--overlay", "local", "--operator-image", IMAGE, "--timeout", "1")
    return installer


def test_without_a_context_nothing_is_installed(tmp_path: Path) -> None:
    refused = Installer(tmp_path / "none", tmp_path).run("deploy", "--operator-image", IMAGE)

    assert refused.returncode == 1
    assert "There is no current kube-context" in refused.stderr


def test_a_cluster_that_does_not_respond_is_named(kube_apiserver: KubeApiserver, tmp_path: Path) -> None:
    kubeconfig = json.loads(kube_apiserver.kubeconfig.read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))

    refused = Installer(tmp_path / "kubeconfig", tmp_path).run("deploy", "--operator-image", IMAGE)

    assert refused.returncode == 1
    assert f"The cluster of context {kubeconfig['current-context']} does not respond" in refused.stderr


def test_secrets_are_made_once_and_never_shown(installer: Installer) -> None:
    first = installer.run("secrets")
    made = installer.secrets()
    second = installer.run("secrets")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert set(made) == {"postgres-credentials", "redis-credentials", "iris-inference"}
    assert installer.secrets() == made
    # Those three, and the password of Grafana's administrator.
    assert second.stdout.count(": kept") == 4
    assert [line.split(": ")[1] for line in first.stdout.splitlines()] == ["created"] * 4


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_the_api_server_accepts_everything_without_a_warning(installer: Installer, overlay: str) -> None:
    rendered = installer.run("render", "--overlay", overlay, "--operator-image", IMAGE)
    assert rendered.returncode == 0, rendered.stderr
    installer.run("secrets")
    # A dry run makes no namespace, and without one the rest cannot be judged.
    namespaces = [item for item in yaml.safe_load_all(rendered.stdout) if item["kind"] == "Namespace"]
    installer.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all(namespaces))

    # Pod Security speaks up as a warning where a workload would get no pods.
    installer.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename=-"),
        stdin=rendered.stdout,
    )


def test_an_installation_whose_pods_never_run_fails_and_names_them(installer: Installer) -> None:
    failed = installer.run("deploy", "--overlay", "local", "--operator-image", IMAGE, "--timeout", "2")

    assert failed.returncode == 1
    assert "Not available after 2 s: iris/postgres, iris/redis, iris-system/prometheus" in failed.stderr
    assert "Installing overlay local into context" in failed.stdout


@pytest.mark.parametrize(
    ("allowed", "question"),
    [
        ("yes", ["patch", "irismodelreleases.iris.mlrelease.dev", "--namespace=iris"]),
        ("yes", ["patch", "irismodelreleases.iris.mlrelease.dev", "--subresource=status", "--namespace=iris"]),
        ("yes", ["create", "deployments.apps", "--namespace=iris"]),
        ("yes", ["patch", "horizontalpodautoscalers.autoscaling", "--namespace=iris"]),
        ("yes", ["delete", "poddisruptionbudgets.policy", "--namespace=iris"]),
        ("yes", ["watch", "endpointslices.discovery.k8s.io", "--namespace=iris"]),
        ("yes", ["create", "events", "--namespace=iris"]),
        ("no", ["update", "irismodelreleases.iris.mlrelease.dev", "--namespace=iris"]),
        ("no", ["get", "secrets", "--namespace=iris"]),
        ("no", ["delete", "ingresses.networking.k8s.io", "--namespace=iris"]),
        ("no", ["delete", "services", "--namespace=iris"]),
        ("no", ["create", "pods", "--namespace=iris"]),
        ("no", ["create", "pods", "--subresource=exec", "--namespace=iris"]),
        ("no", ["patch", "deployments.apps", "--namespace=iris-system"]),
        ("no", ["list", "deployments.apps", "--all-namespaces"]),
        ("no", ["list", "customresourcedefinitions.apiextensions.k8s.io"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_the_operator_may_do_its_work_and_no_more(installed: Installer, allowed: str, question: list[str]) -> None:
    assert installed.kubectl("auth", "can-i", f"--as={OPERATOR}", *question).splitlines()[-1] == allowed
