"""An operator that meets what a newer one stored: no release begins, and no pod restarts."""

from __future__ import annotations

import json

from iris_operator.api import names
from iris_operator.api.spec import Model, Serving
from iris_operator.engine.release import RevisionInputs
from support.operator.simulation import Simulation, serving


class NewerServing(Serving):
    """The serving block of a later operator."""

    grace_seconds: int = 30


def deployed_by_a_newer_operator() -> Simulation:
    """Version 1.0.0 with a field in its inputs, and in its pods, that this operator does not know."""
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    stable = simulation.status.stable
    assert stable is not None
    deployment = simulation.server.objects["Deployment", "iris", names.workload_name("iris", stable.revision)]
    known = json.loads(deployment["metadata"]["annotations"][names.ANNOTATION_INPUTS])
    newer = RevisionInputs(
        Model.model_validate(known["model"]), NewerServing.model_validate({**known["serving"], "graceSeconds": 60})
    )
    deployment["metadata"]["annotations"][names.ANNOTATION_INPUTS] = newer.to_text()
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 60
    old, new = stable.revision, newer.ref.revision
    simulation.server.objects = {
        (kind, namespace, name.replace(old, new)): json.loads(json.dumps(item).replace(old, new))
        for (kind, namespace, name), item in simulation.server.objects.items()
    }
    simulation.server._started_at = {
        name.replace(old, new): when for name, when in simulation.server._started_at.items()
    }
    return simulation


def grace_of(simulation: Simulation, version: str) -> int:
    found = next(
        item
        for (kind, _, _), item in simulation.server.objects.items()
        if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_VERSION] == version
    )
    return int(found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])


def test_no_release_begins_and_no_pod_restarts() -> None:
    simulation = deployed_by_a_newer_operator()
    born = dict(simulation.server._started_at)
    simulation.run_for(30)
    assert simulation.status.phase == "Stable"
    assert simulation.server._started_at == born
    assert grace_of(simulation, "1.0.0") == 60
    assert [reason for reason, _ in simulation.server.events] == ["Deploying", "Deployed"]


def test_another_version_is_released_beside_it_and_its_pods_stay_as_they_are() -> None:
    simulation = deployed_by_a_newer_operator()
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    assert simulation.availability.lost == 0
    assert grace_of(simulation, "1.0.0") == 60
    assert "WorkloadRepaired" not in [reason for reason, _ in simulation.server.events]
    condition = next(each for each in simulation.status.conditions if each.type == "Degraded")
    assert condition.status == "False"
