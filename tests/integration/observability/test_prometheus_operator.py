"""The objects for the Prometheus Operator on a real API server with its definitions, every unknown field refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.observability.repository import OBSERVABILITY
from support.operator.controllers import Kubectl
from support.servers.kubernetes import KubeApiserver

CRDS = Path(__file__).parent / "crds"
OBJECTS = OBSERVABILITY / "prometheus-operator"


@pytest.fixture(scope="module")
def kubectl(kube_apiserver: KubeApiserver) -> Kubectl:
    kube_apiserver.create_namespace("iris-system")
    kubectl = Kubectl(kube_apiserver.kubeconfig, "iris-system")
    kubectl.run("apply", "--server-side", "-f", str(CRDS))
    kubectl.run("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    return kubectl


def test_the_custom_resource_definitions_accept_them(kubectl: Kubectl) -> None:
    kubectl.run("apply", "--server-side", "--validate=strict", "-k", str(OBJECTS))
    stored = {
        (item["kind"], item["metadata"]["name"])
        for item in kubectl.get("prometheusrules,podmonitors,servicemonitors")["items"]
    }
    assert stored == {
        ("PrometheusRule", "iris-release"),
        ("PodMonitor", "iris-inference"),
        ("PodMonitor", "iris-operator"),
        ("ServiceMonitor", "iris-kubelet"),
        ("ServiceMonitor", "iris-alertmanager"),
    }


def test_a_misspelt_field_is_rejected(kubectl: Kubectl) -> None:
    monitor = kubectl.get("podmonitor", "iris-inference")
    monitor["metadata"] = {"name": "wrong", "namespace": "iris-system"}
    monitor["spec"]["podMetricsEndpoint"] = monitor["spec"].pop("podMetricsEndpoints")
    with pytest.raises(AssertionError, match=r"unknown field|podMetricsEndpoints"):
        kubectl.run("create", "--validate=strict", "-f", "-", stdin=json.dumps(monitor))
