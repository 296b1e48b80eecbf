"""The CRD comes late, goes and comes back; a namespace goes, and the operator's rights in it go first."""

from __future__ import annotations

from pathlib import Path

from support.operator.controllers import Kubectl
from support.operator.simulation import manifest
from support.servers.process import ServerProcess

CRD = Path(__file__).resolve().parents[3] / "crds" / "irismodelreleases.yaml"
DEFINITION = "crd/irismodelreleases.iris.mlrelease.dev"


def apply_release(kubectl: Kubectl) -> None:
    body = manifest("1.0.0")
    body["metadata"]["namespace"] = kubectl.namespace
    kubectl.apply(body)


def is_reconciled(kubectl: Kubectl) -> None:
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Initializing", "imr/iris", "--timeout=60s")


def install_definition(kubectl: Kubectl) -> None:
    kubectl.run("apply", "--server-side", "-f", str(CRD))
    kubectl.run("wait", "--for=condition=Established", DEFINITION, "--timeout=30s")


def test_the_operator_waits_for_a_crd_that_comes_late_and_goes_on_when_it_is_removed_and_back(
    kubectl: Kubectl, impatient_operator: ServerProcess
) -> None:
    kubectl.run("delete", DEFINITION, "--timeout=60s")
    impatient_operator.start()
    install_definition(kubectl)
    apply_release(kubectl)
    is_reconciled(kubectl)
    kubectl.run("delete", DEFINITION, "--timeout=60s")
    install_definition(kubectl)
    apply_release(kubectl)
    is_reconciled(kubectl)
    kubectl.run("delete", "imr", "iris", "--timeout=60s")


def test_a_release_goes_with_its_namespace_although_the_rights_in_it_went_first(
    kubectl: Kubectl, restricted_operator: ServerProcess
) -> None:
    """As the namespace's controller does it, which this cluster does not have."""
    apply_release(kubectl)
    is_reconciled(kubectl)
    apply_second(kubectl)
    kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")
    kubectl.run("delete", "rolebinding", "iris-operator")
    kubectl.run("delete", "imr", "iris", "--timeout=60s")
    restricted_operator.stop()
    kubectl.run("delete", "imr", "second", "--wait=false")
    restricted_operator.start()
    kubectl.run("wait", "--for=delete", "imr/second", "--timeout=60s")


def apply_second(kubectl: Kubectl) -> None:
    body = manifest("1.0.0", traffic={"host": "second.example.com"})
    body["metadata"] = {"name": "second", "namespace": kubectl.namespace}
    kubectl.apply(body)
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Initializing", "imr/second", "--timeout=60s")
