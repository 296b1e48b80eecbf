"""What can reach what once the policies are enforced: computed from them, and compared with everything that may."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import yaml

from iris_install import overlay
from iris_install.kubectl import Kubectl
from iris_local import node
from iris_operator.engine.manifests import deployment
from iris_operator.engine.release import RevisionInputs, parse_release
from support.deploy.manifests import Manifest, find_manifest
from support.deploy.reachability import Pod, egress_allowed, ingress_allowed, reachable
from support.operator.simulation import manifest

Objects = list[Manifest]
Flow = tuple[str, str, int]

# From whom, to whom, to which port: all of it.
MAY = {
    ("ingress controller", "inference", 8000),
    # Copies of requests, from stable to the revision that is tried.
    ("inference", "inference", 8000),
    ("inference", "postgres", 5432),
    ("inference", "redis", 6379),
    ("iris-records", "postgres", 5432),
    ("prometheus", "inference", 9100),
    ("prometheus", "iris-operator", 9100),
    ("prometheus", "alertmanager", 9093),
    ("iris-operator", "prometheus", 9090),
    ("iris-operator", "API server", 6443),
    ("prometheus", "API server", 6443),
}
# Only in production there is one.
GRAFANA_MAY = {("grafana", "prometheus", 9090)}
KUBELET, HTTPS = 10250, 443
# To targets that are not pods: the kubelets, and receivers of alerts.
OUTSIDE = {("prometheus", KUBELET), ("alertmanager", HTTPS)}
RESOLVE_NAMES = (
    *("inference", "iris-records", "postgres", "redis"),
    *("iris-operator", "prometheus", "alertmanager", "stranger in iris"),
)


def pod_of(workload: Manifest, name: str = "") -> Pod:
    template = workload["spec"]["template"]
    ports = {
        port["name"]: port["containerPort"]
        for container in template["spec"]["containers"]
        for port in container.get("ports", [])
    }
    labels = template["metadata"]["labels"]
    return Pod(name or workload["metadata"]["name"], workload["metadata"]["namespace"], labels, ports)


def made_by_the_operator(version: str) -> Manifest:
    body: dict[str, Any] = manifest(version)
    body["metadata"] |= {"uid": "1", "generation": 1, "resourceVersion": "1"}
    release = parse_release(body)
    return deployment(release, RevisionInputs.of(release.spec), "stable", 2, None)


@pytest.fixture(scope="module", params=["local", "production"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rendered(kubectl: Kubectl, where: str) -> Objects:
    text = overlay.render(kubectl, where, "registry.example.com/iris-operator:1.2.3")
    records = kubectl.run("kustomize", str(overlay.ROOT / "deploy" / "records"))
    return [*filter(None, yaml.safe_load_all(text)), *filter(None, yaml.safe_load_all(records))]


@pytest.fixture
def policies(rendered: Objects) -> Objects:
    return [item for item in rendered if item["kind"] == "NetworkPolicy"]


def all_of_it(rendered: Objects, where: str) -> dict[str, Pod]:
    """Everything of ours, and everybody else."""
    cronjob = find_manifest(rendered, "CronJob", "iris-records")
    job = {"metadata": cronjob["metadata"], "spec": cronjob["spec"]["jobTemplate"]["spec"]}
    local = where == "local"
    return {
        pod.name: pod
        for pod in (
            *(pod_of(item) for item in rendered if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet")),
            pod_of(made_by_the_operator("1.0.0"), "inference"),
            pod_of(made_by_the_operator("2.0.0"), "canary"),
            pod_of(job),
            Pod("ingress controller", "ingress" if local else "ingress-nginx", {"app.kubernetes.io/name": "traefik"}),
            Pod("DNS", "kube-system", {"k8s-app": "kube-dns"}, {"dns": 53, "dns-tcp": 53}),
            Pod("API server", address=node.ADDRESSES.host if local else "198.51.100.1"),
            Pod("stranger in iris", "iris", {"app.kubernetes.io/name": "stranger"}, {"http": 80}),
            # Who takes another's name has its rights only where the namespace is not asked for.
            Pod("impostor", "elsewhere", {"app.kubernetes.io/name": "prometheus", "iris.mlrelease.dev/release": "x"}),
            Pod("internet", address="203.0.113.9"),
        )
    }


def kind_of(pod: Pod) -> str:
    """What may be known of a pod: to the policies a canary is one that serves, as any other."""
    return "inference" if pod.name == "canary" else pod.name


Passes = Callable[[Objects, Pod, Pod, int], bool]


@pytest.mark.parametrize("passes", [egress_allowed, ingress_allowed])
def test_each_end_allows_exactly_the_required_connections(
    rendered: Objects, policies: Objects, where: str, passes: Passes
) -> None:
    """A policy that is loosened by mistake opens nothing while the other end is closed, and is found all the same."""
    world = all_of_it(rendered, where)
    api_port = node.ADDRESSES.port if where == "local" else 6443
    ports = {number for pod in world.values() for number in pod.ports.values()} - {53} | {22, HTTPS, KUBELET, api_port}
    end = 1 if passes is ingress_allowed else 0
    ours = {name for name, pod in world.items() if pod.namespace in ("iris", "iris-system")}
    can: set[Flow] = {
        (kind_of(source), kind_of(target), 6443 if port == api_port else port)
        for source, target in product(world.values(), repeat=2)
        for port in ports
        if source is not target and (source, target)[end].name in ours
        if passes(policies, source, target, port)
    }
    # Where the address of the API server is not known, its ports are open to every address.
    outside = {(name, to, port) for name, to, port in can if to in ("internet", "API server")}
    known = {flow for flow in outside if (flow[0], flow[2]) in OUTSIDE}
    api_connections = {(name, to, port) for name, to, port in outside - known if port in (443, 6443)}
    api = {flow for flow in MAY if flow[1] == "API server"}
    if passes is egress_allowed:
        assert api_connections == api if where == "local" else api_connections >= api
        assert {name for name, _, _ in api_connections} == {"iris-operator", "prometheus"}
        assert {(name, port) for name, _, port in known} == OUTSIDE
        # The local cluster's only node is where its API server is.
        assert (("prometheus", "internet", KUBELET) in known) is (where != "local")
    may = MAY if where == "local" else MAY | GRAFANA_MAY
    assert can - api_connections - known == {flow for flow in may - api if flow[end] in ours}


def test_every_pod_can_resolve_names(rendered: Objects, policies: Objects, where: str) -> None:
    world = all_of_it(rendered, where)
    for name in RESOLVE_NAMES:
        assert reachable(policies, world[name], world["DNS"], 53, "UDP"), name
        assert reachable(policies, world[name], world["DNS"], 53, "TCP"), name


def test_a_pod_without_a_policy_of_its_own_reaches_nothing_else(
    rendered: Objects, policies: Objects, where: str
) -> None:
    world = all_of_it(rendered, where)
    stranger = world["stranger in iris"]
    for target in world.values():
        if target.name not in ("DNS", stranger.name):
            assert not [port for port in (80, 443, 5432, 6379, 8000) if reachable(policies, stranger, target, port)]
            assert not reachable(policies, target, stranger, 80), target.name


def test_the_local_overlay_names_the_local_api_server(policies: Objects, where: str) -> None:
    (rule,) = find_manifest(policies, "NetworkPolicy", "kubernetes-api")["spec"]["egress"]
    block = {"ipBlock": {"cidr": f"{node.ADDRESSES.host}/32"}}
    expected = {"to": [block], "ports": [{"port": node.ADDRESSES.port}]}
    assert (rule == expected) is (where == "local")
