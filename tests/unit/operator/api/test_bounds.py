"""What an older CRD has admitted is read, and cannot break arithmetic; pod fields are handed on as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import Serving
from iris_operator.engine.release import RevisionInputs
from iris_operator.rollout.timing import judgement_interval
from support.operator.parsed_release import release
from support.operator.simulation import Simulation, phase, serving


@pytest.mark.parametrize(
    ("text", "seconds"), [("999999h", 2_592_000.0), ("9" * 31 + "h", 2_592_000.0), ("720h", 2_592_000.0)]
)
def test_a_duration_ends_at_30_days(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_an_interval_of_zero_is_a_short_one() -> None:
    assert judgement_interval(0.0) == pytest.approx(0.1)


@pytest.mark.parametrize("field", ["interval", "warmUp", "watch", "readyTimeout", "holdTimeout", "scaleDownDelay"])
@pytest.mark.parametrize("text", ["0s", "999999h"])
def test_a_release_with_a_stored_duration_of_any_length_is_served(field: str, text: str) -> None:
    simulation = Simulation()
    simulation.apply("1.0.0", rollout={"steps": [{"weight": 10}], field: text})
    expected = phase("Degraded") if (field, text) == ("readyTimeout", "0s") else serving("1.0.0")
    simulation.run(expected)
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 10}], field: text})
    simulation.run_for(5)
    assert all(each.reason != "InternalError" for each in simulation.status.conditions)


POD_FIELDS: dict[str, Any] = {
    "env": [{"name": "B", "valueFrom": {"secretKeyRef": {"key": "k", "name": "s"}}}, {"name": "A", "value": "1"}],
    "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}],
    "imagePullSecrets": [{"name": "a"}],
    "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": 0.5, "example.com/gpu": 1}},
}


def test_typed_schemas_leave_the_hashed_text_of_a_revision_as_it_was() -> None:
    inputs = RevisionInputs.of(release(spec={"serving": POD_FIELDS}).spec)
    assert json.loads(inputs.to_text())["serving"] == {**POD_FIELDS, "port": 8000}
    assert RevisionInputs.of(release(spec={"serving": POD_FIELDS}).spec).ref.revision == "00c5bf57d4"
    assert Serving.model_validate(POD_FIELDS).to_json()["resources"] == POD_FIELDS["resources"]
