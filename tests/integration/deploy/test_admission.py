"""Which pods the API server takes into our namespaces, whoever asks for them."""

from __future__ import annotations

import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.servers.kubernetes import KubeApiserver

BASE = Path(__file__).resolve().parents[3] / "deploy" / "base"
NAMESPACES = ("iris", "iris-system")
FIXED = "registry.example.com:5000/iris-inference:2.0.0"
DIGEST = "registry.example.com/iris-inference@sha256:" + "0a" * 32
PATIENCE_SECONDS = 60.0


def pod(image: str = FIXED, **security: Any) -> dict[str, Any]:
    context = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "one", "image": image, "securityContext": {**context, **security}}
    return {"metadata": {"name": "one"}, "spec": {"containers": [container]}}


def refusal(server: KubeApiserver, namespace: str, body: dict[str, Any]) -> str:
    """What the API server says against the pod; empty when it would take it."""
    try:
        server.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", body)
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    return ""


@pytest.fixture(scope="module")
def server(kube_apiserver: KubeApiserver) -> KubeApiserver:
    """The API server with the base's namespaces and its admission policy in force."""
    for file in ("namespaces.yaml", "admission.yaml", "limits.yaml"):
        kube_apiserver.apply(BASE / file)
    for namespace in NAMESPACES:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        kube_apiserver.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    # The API server tells nobody when it has taken a policy up: asking is all there is.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not refusal(kube_apiserver, "iris", pod("a:latest")):
        assert time.monotonic() < deadline, "the admission policy is not in force"
        time.sleep(0.2)
    return kube_apiserver


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("image", [FIXED, DIGEST, FIXED + "@sha256:" + "0a" * 32, "localhost/redis:7"])
def test_a_pod_without_privileges_and_with_a_fixed_image_is_accepted(
    server: KubeApiserver, namespace: str, image: str
) -> None:
    assert refusal(server, namespace, pod(image)) == ""


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"runAsUser": 0}, "runAsUser"),
        ({"runAsNonRoot": False}, "runAsNonRoot"),
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation"),
        ({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, "NET_ADMIN"),
    ],
)
def test_a_pod_that_asks_for_root_is_refused(
    server: KubeApiserver, namespace: str, asked: dict[str, Any], word: str
) -> None:
    said = refusal(server, namespace, pod(**asked))
    assert said.startswith("403 ")
    assert "violates PodSecurity" in said
    assert word in said


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize(
    "image",
    [
        "iris-inference",
        "iris-inference:latest",
        "registry.example.com/iris-inference",
        "registry.example.com:5000/iris-inference",
        "registry.example.com:5000/iris-inference:latest",
    ],
)
def test_an_image_that_can_change_under_its_name_is_refused(server: KubeApiserver, namespace: str, image: str) -> None:
    said = refusal(server, namespace, pod(image))
    assert said.startswith("403 ")
    assert f"images must have a digest or a fixed tag other than latest: {image}" in said


def test_it_is_refused_in_an_init_container_too(server: KubeApiserver) -> None:
    body = pod()
    body["spec"]["initContainers"] = pod("tool:latest")["spec"]["containers"]
    body["spec"]["initContainers"][0]["name"] = "zero"
    assert "tool:latest" in refusal(server, "iris", body)


def test_it_is_refused_in_an_ephemeral_container_too(server: KubeApiserver) -> None:
    body = pod()
    body["metadata"]["name"] = "debugged"
    stored = server.request("POST", "/api/v1/namespaces/iris/pods", body)
    debugger = pod("tools")["spec"]["containers"][0] | {"name": "debugger"}
    stored["spec"]["ephemeralContainers"] = [debugger]
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.request("PUT", "/api/v1/namespaces/iris/pods/debugged/ephemeralcontainers", stored)
    assert b"fixed tag other than latest: tools" in refused.value.read()
    server.request("DELETE", "/api/v1/namespaces/iris/pods/debugged")


def test_a_container_without_resources_gets_defaults(server: KubeApiserver) -> None:
    stored = server.request("POST", "/api/v1/namespaces/iris/pods?dryRun=All", pod())
    assert stored["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "2", "memory": "2Gi"},
    }


def test_other_namespaces_are_not_affected(server: KubeApiserver) -> None:
    server.create_namespace("elsewhere")
    assert refusal(server, "elsewhere", pod("anything:latest")) == ""


def test_the_policy_reads_every_list_of_containers_that_a_pod_has(server: KubeApiserver) -> None:
    """The next version of Kubernetes may bring another."""
    definition = server.request("GET", "/openapi/v3/api/v1")["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]
    lists = {name for name in definition["properties"] if name.lower().endswith("containers")}
    policy = next(iter(yaml.safe_load_all((BASE / "admission.yaml").read_text())))
    (images,) = (v["expression"] for v in policy["spec"]["variables"] if v["name"] == "images")
    assert lists == {name for name in lists if name in images}
