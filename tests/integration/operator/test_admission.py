"""What Kubernetes would refuse in the release's objects is refused with the release, and the field is named."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from iris_operator.engine.release import RevisionInputs, parse_release
from support.operator.controllers import Kubectl
from support.operator.simulation import AUTOSCALED, manifest
from support.servers.tools import component

CRD = Path(__file__).resolve().parents[3] / "crds" / "irismodelreleases.yaml"


def release(kubectl: Kubectl, name: str = "iris", **changes: Any) -> dict[str, Any]:
    body = manifest("1.0.0", **changes)
    body["metadata"] = {"name": name, "namespace": kubectl.namespace}
    return body


def refused(kubectl: Kubectl, body: dict[str, Any]) -> str:
    """The API server's message about the release, which must be refused."""
    command = [component("kubectl"), f"--kubeconfig={kubectl.kubeconfig}", "create", "--filename=-"]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False)
    assert done.returncode != 0, f"accepted: {body['spec']}"
    return done.stderr


def variable(**fields: Any) -> dict[str, Any]:
    return {"serving": {"env": [fields]}}


def annotated(**annotations: str) -> dict[str, Any]:
    return {"traffic": {"host": "a.example.com", "ingress": {"annotations": annotations}}}


def custom(**fields: Any) -> dict[str, Any]:
    return {"analysis": {"checks": {"custom": [{"name": "m", "query": "1", **fields}]}}}


SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
DIGITS = {"requests": {"cpu": "100m"}}


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"serving": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}, "env[1]", "Duplicate"),
        (variable(value="1"), "env[0].name", "Required"),
        (variable(name="A=B", value="1"), "env[0].name", "match"),
        (variable(name="IRIS_PORT", value="1"), "env[0].name", "take it out"),
        (variable(name="A", value="1", valueFrom=SECRET), "env[0]", "take one of them out"),
        (variable(name="A", valueFrom={}), "env[0].valueFrom", "exactly one"),
        (variable(name="A", valueFrom={**SECRET, "fieldRef": {"fieldPath": "metadata.name"}}), "valueFrom", "exactly"),
        (variable(name="A", valueFrom={"secretKeyRef": {"name": "s"}}), "secretKeyRef.key", "Required"),
        (
            variable(name="A", valueFrom={"configMapKeyRef": {"name": "S_", "key": "k"}}),
            "configMapKeyRef.name",
            "match",
        ),
        (variable(name="A", valueFrom={"fieldRef": {"fieldPath": "spec.image"}}), "fieldRef.fieldPath", "match"),
        (variable(name="A", value=1), "env[0].value", "string"),
        ({"serving": {"envFrom": [{}]}}, "envFrom[0]", "exactly one"),
        ({"serving": {"envFrom": [{"secretRef": {}}]}}, "envFrom[0].secretRef.name", "Required"),
        ({"serving": {"resources": {"requests": {"cpu": "a lot"}}}}, "resources.requests.cpu", "match"),
        ({"serving": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}}, "resources", "raise limits"),
        ({"serving": {"imagePullSecrets": [{}]}}, "imagePullSecrets[0].name", "Required"),
        ({"serving": {"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}}, "imagePullSecrets[1]", "Duplicate"),
        ({"serving": {"autoscaling": {"maxReplicas": 3}}}, "spec.serving", "give that"),
        ({"rollout": {"interval": "999999h"}}, "spec.rollout.interval", "30 days"),
        ({"rollout": {"interval": "0s"}}, "spec.rollout.interval", "100ms"),
        ({"rollout": {"readyTimeout": "9999999999999999h"}}, "spec.rollout.readyTimeout", "30 days"),
        ({"rollout": {"steps": [{"weight": 5, "minDuration": "721h"}]}}, "minDuration", "30 days"),
        ({"traffic": {"host": "a.example.com", "path": "/a//b"}}, "spec.traffic.path", "write the path"),
        ({"traffic": {"host": "a.example.com", "path": "/a/../b"}}, "spec.traffic.path", "write the path"),
        ({"traffic": {"host": "a.example.com", "path": "/a/.."}}, "spec.traffic.path", "write the path"),
        ({"traffic": {"host": "a.example.com", "path": "/a%2Fb"}}, "spec.traffic.path", "write the path"),
        ({"traffic": {"host": "a.example.com", "path": "/a b"}}, "spec.traffic.path", "no spaces"),
        ({"traffic": {"host": "a.example.com", "path": "/a{b"}}, "spec.traffic.path", "no spaces"),
        ({"traffic": {"host": "10.0.0.1"}}, "spec.traffic.host", "IP address"),
        (
            {"traffic": {"host": "a.example.com", "ingress": {"className": "A_"}}},
            "ingress.className",
            "name of an object",
        ),
        (
            {"traffic": {"host": "a.example.com", "ingress": {"tlsSecretName": "A_"}}},
            "tlsSecretName",
            "name of an object",
        ),
        (annotated(**{"a b": "1"}), "ingress.annotations", "example.com/timeout"),
        (annotated(**{"nginx.ingress.kubernetes.io/canary-weight": "90"}), "ingress.annotations", "take them out"),
        (annotated(**{"example.com/long": "x" * 8193}), "ingress.annotations", "8192"),
        (annotated(**{f"example.com/{number}": "1" for number in range(31)}), "ingress.annotations", "30"),
        (custom(min=2, max=1), "custom[0]", "above"),
        (custom(min=-1e301), "custom[0].min", "1e+300"),
    ],
)
def test_what_kubernetes_cannot_bear_is_refused_with_the_field_named(
    kubectl: Kubectl, changes: dict[str, Any], field: str, word: str
) -> None:
    message = refused(kubectl, release(kubectl, **changes))
    assert field in message
    assert word in message


@pytest.mark.parametrize("name", ["a" * 51, "iris-canary", "iris-0123456789-control", "iris.a", "1iris", "Iris"])
def test_a_name_whose_objects_would_have_no_name_or_that_of_another_is_refused(kubectl: Kubectl, name: str) -> None:
    assert "metadata.name" in refused(kubectl, release(kubectl, name))


FULL: dict[str, Any] = {
    "env": [
        {"name": "A", "value": "1"},
        {"name": "EMPTY"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s.1", "key": "k_", "optional": True}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a.b/c']", "apiVersion": "v1"}}},
        {"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "my.name-1", "value": ""},
    ],
    "envFrom": [{"secretRef": {"name": "s"}, "prefix": "P_"}, {"configMapRef": {"name": "c", "optional": True}}],
    "resources": {"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"cpu": "2", "memory": "2e9", "a.b/gpu": 1}},
    "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
}


@pytest.mark.parametrize("serving", [FULL, AUTOSCALED, {}])
def test_what_kubernetes_accepts_is_accepted_and_stored_as_it_is(kubectl: Kubectl, serving: dict[str, Any]) -> None:
    """A default or a pruned field would make another revision of what is stored."""
    body = release(kubectl, "accepted", serving=serving)
    kubectl.apply(body)
    stored = parse_release(kubectl.get("imr", "accepted"))
    written = parse_release(
        {**body, "metadata": {**body["metadata"], "uid": "", "generation": 1, "resourceVersion": ""}}
    )
    assert RevisionInputs.of(stored.spec).to_text() == RevisionInputs.of(written.spec).to_text()
    kubectl.run("delete", "imr", "accepted")


def older_definition(kubectl: Kubectl, change: Callable[[dict[str, Any]], None]) -> None:
    definition = yaml.safe_load(CRD.read_text())
    (version,) = definition["spec"]["versions"]
    change(version["schema"]["openAPIV3Schema"])
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(definition))


def without_the_new_rules(schema: dict[str, Any]) -> None:
    schema.pop("x-kubernetes-validations")
    spec = schema["properties"]["spec"]["properties"]
    anything = {"x-kubernetes-preserve-unknown-fields": True, "type": "object"}
    spec["serving"].pop("x-kubernetes-validations")
    serving = spec["serving"]["properties"]
    serving["resources"] = anything
    for name in ("env", "envFrom", "imagePullSecrets"):
        serving[name] = {"type": "array", "items": copy.deepcopy(anything)}
    for name in ("interval", "readyTimeout"):
        spec["rollout"]["properties"][name].pop("x-kubernetes-validations")
    for field in ("host", "path"):
        spec["traffic"]["properties"][field].pop("x-kubernetes-validations", None)
    spec["traffic"]["properties"]["ingress"]["properties"]["annotations"] = {
        "type": "object",
        "additionalProperties": {"type": "string"},
    }


def test_a_release_that_an_older_definition_admitted_can_still_be_changed_and_its_status_written(
    kubectl: Kubectl,
) -> None:
    older_definition(kubectl, without_the_new_rules)
    serving = {
        "resources": {"requests": {"cpu": 0.5}, "limits": {"memory": "1Gi"}},
        "env": [{"name": "IRIS_PORT", "value": "1"}, {"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        "imagePullSecrets": [{"name": "a"}, {"name": "a"}],
    }
    body = release(
        kubectl,
        "older-canary",
        serving=serving,
        rollout={"interval": "999999h"},
        traffic={"host": "10.0.0.1", "path": "/a//b"},
    )
    try:
        kubectl.apply(body)
    finally:
        kubectl.run("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    kubectl.run("patch", "imr", "older-canary", "--type=merge", '--patch={"spec":{"paused":true}}')
    kubectl.run(
        *("patch", "imr", "older-canary", "--subresource=status", "--type=merge"),
        '--patch={"status":{"phase":"Initializing"}}',
    )
    stored = parse_release(kubectl.get("imr", "older-canary"))
    assert stored.spec.paused
    kubectl.run("delete", "imr", "older-canary")
