"""A revision's hash survives an upgrade of the operator: what is stored keeps its identity, and no release begins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import Field

from iris_operator.api.base import ApiModel
from iris_operator.api.spec import Model, ReleaseSpec, Serving
from iris_operator.engine.release import RevisionInputs

IRIS = {"name": "iris", "version": "1.0.0", "image": "registry.example.com/iris:1.0.0"}
# Computed by the operator that stored them. A change of one of these is a release in every cluster.
GOLDEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "minimal": (IRIS, {}, "713ab0ad66"),
    "defaults written out": (
        IRIS,
        {"replicas": 1, "port": 8000, "resources": {}, "env": [], "envFrom": [], "imagePullSecrets": []},
        "713ab0ad66",
    ),
    "digest": (
        {"name": "iris", "version": "2.0.0", "image": f"registry.example.com/iris@sha256:{'0' * 64}"},
        {"replicas": 7},
        "491a6ee881",
    ),
    "autoscaled": (
        IRIS,
        {"replicas": 4, "autoscaling": {"maxReplicas": 10}, "resources": {"requests": {"cpu": "100m"}}},
        "72d8c2d374",
    ),
    "everything": (
        {"name": "fraud-2", "version": "2026.12.1_b", "image": "r.example.com:5000/team/fraud:v3"},
        {
            "replicas": 2,
            "port": 9000,
            "resources": {"requests": {"cpu": 0.5, "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
            "env": [
                {"name": "B", "value": "ü"},
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
            ],
            "envFrom": [{"configMapRef": {"name": "c"}}],
            "imagePullSecrets": [{"name": "pull"}],
        },
        "2d74befc8d",
    ),
}


def inputs_of(model: dict[str, Any], serving: dict[str, Any]) -> RevisionInputs:
    spec = {"model": model, "serving": serving, "traffic": {"host": "a.example.com"}}
    return RevisionInputs.of(ReleaseSpec.model_validate(spec))


class Probe(ApiModel):
    path: str = "/healthz"
    seconds: int = 1


class NewerModel(Model):
    """A model of a later operator, with further fields that have defaults."""

    format: str = "onnx"


class NewerServing(Serving):
    """The serving block of a later operator."""

    grace_seconds: int = 30
    command: list[str] = Field(default_factory=list)
    probe: Probe = Field(default_factory=Probe)
    runtime_class: str | None = None


@pytest.mark.parametrize("name", GOLDEN)
def test_the_hash_of_a_stored_revision_is_what_it_was(name: str) -> None:
    model, serving, revision = GOLDEN[name]
    assert inputs_of(model, serving).ref.revision == revision


@pytest.mark.parametrize("name", GOLDEN)
def test_an_added_field_with_a_default_changes_no_hash(name: str) -> None:
    model, serving, revision = GOLDEN[name]
    newer = RevisionInputs(NewerModel.model_validate(model), NewerServing.model_validate(serving))
    assert newer.ref.revision == revision


def test_a_default_that_the_api_server_filled_in_changes_no_hash() -> None:
    model, serving, revision = GOLDEN["everything"]
    filled = {"graceSeconds": 30, "command": [], "probe": {"path": "/healthz", "seconds": 1}}
    newer = RevisionInputs(
        NewerModel.model_validate({**model, "format": "onnx"}), NewerServing.model_validate({**serving, **filled})
    )
    assert newer.ref.revision == revision


def test_an_added_field_that_is_used_makes_another_revision() -> None:
    model, serving, revision = GOLDEN["minimal"]
    newer = RevisionInputs(
        Model.model_validate(model), NewerServing.model_validate({**serving, "probe": {"seconds": 5}})
    )
    assert newer.ref.revision != revision
    assert json.loads(newer.to_text())["serving"]["probe"] == {"seconds": 5}


def test_inputs_that_a_newer_operator_stored_keep_their_text_and_their_revision() -> None:
    model, serving, _ = GOLDEN["everything"]
    newer = RevisionInputs(Model.model_validate(model), NewerServing.model_validate({**serving, "graceSeconds": 60}))
    found = RevisionInputs.from_text(newer.to_text())
    assert found.to_text() == newer.to_text()
    assert found.ref == newer.ref
    assert found.serving.port == 9000
    assert found.has_unknown_fields
    assert not RevisionInputs.from_text(inputs_of(model, serving).to_text()).has_unknown_fields


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"model": {}}', '{"model": 1, "serving": 2}', "{", "\x00"])
def test_text_that_is_no_inputs_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RevisionInputs.from_text(text)
