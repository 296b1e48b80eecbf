"""The parts of the log pipeline that do not run on the local cluster, held against a real API server."""

from __future__ import annotations

import pytest
import yaml

from iris_install.kubectl import Kubectl as Renderer
from support.deploy.pipelines import PIPELINES, pipeline
from support.operator.controllers import Kubectl
from support.servers.kubernetes import KubeApiserver
from support.servers.tools import component


@pytest.mark.parametrize("parts", PIPELINES.values(), ids=list(PIPELINES))
def test_the_api_server_accepts_each_pipeline_without_a_warning(
    kube_apiserver: KubeApiserver, parts: list[str]
) -> None:
    kubectl = Kubectl(kube_apiserver.kubeconfig, "iris-logs")
    objects = pipeline(Renderer(component("kubectl")), *parts)
    namespaces = [item for item in objects if item["kind"] == "Namespace"]
    # A dry run makes no namespace, and without one the rest cannot be judged.
    kubectl.run("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all(namespaces))

    accepted = kubectl.run(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--warnings-as-errors",
        "--filename=-",
        stdin=yaml.safe_dump_all(objects),
    )

    assert len(accepted.splitlines()) == len(objects)
