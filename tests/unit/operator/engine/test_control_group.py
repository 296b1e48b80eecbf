"""The control group beside the canary: whole releases in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from iris_operator.api import names
from support.operator.api_server import Image, OperatorKilled
from support.operator.simulation import AUTOSCALED, Simulation, at_share, at_weight, phase, serving

STABLE_ONLY = {"control": "Stable"}
LAST = {"steps": [{"weight": 50}, {"weight": 100, "minDuration": "1m"}], "interval": "5s"}
STABLE, CANARY = (f"registry.example.com/iris:{version}" for version in ("1.0.0", "2.0.0"))


def deployed(**images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    return simulation


def control_groups(simulation: Simulation) -> list[dict[str, Any]]:
    return [
        item
        for (kind, _, _), item in simulation.server.objects.items()
        if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_ROLE] == "control"
    ]


def canary_selector(simulation: Simulation) -> dict[str, str]:
    selector = simulation.server.objects["Service", "iris", "iris-canary"]["spec"]["selector"]
    return {key.removeprefix(f"{names.GROUP}/"): value for key, value in selector.items()}


def reasons(simulation: Simulation) -> list[str]:
    return [reason for reason, _ in simulation.server.events]


def test_the_control_group_runs_stables_pods_under_a_revision_of_its_own_beside_the_canary() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    status = simulation.run(at_share(10))
    assert status.stable is not None
    assert status.canary is not None
    assert status.control is not None
    assert status.control.revision == names.control_revision(status.stable.revision, status.canary.revision)
    (group,) = control_groups(simulation)
    stable = simulation.server.objects["Deployment", "iris", names.workload_name("iris", status.stable.revision)]
    template, stables = group["spec"]["template"], stable["spec"]["template"]
    assert template["spec"]["containers"] == stables["spec"]["containers"]
    labels = template["metadata"]["labels"]
    assert labels[names.LABEL_REVISION] == status.control.revision
    assert labels[names.LABEL_BACKEND] == status.canary.revision
    assert (labels[names.LABEL_VERSION], labels[names.LABEL_ARM]) == ("1.0.0", "control")
    assert canary_selector(simulation) == {"release": "iris", "backend": status.canary.revision}
    assert status.control.pods == simulation.control_pods() == 2
    assert (simulation.weight, status.weight) == (20, 10)


def test_the_canary_never_gets_more_than_the_share_of_its_step() -> None:
    for replicas in (1, 2, 3, 7):
        simulation = deployed()
        simulation.apply("1.0.0", serving={"replicas": replicas})
        simulation.run_for(5)
        steps = [{"weight": 5}, {"weight": 30}, {"weight": 55}, {"weight": 80}, {"weight": 100}]
        simulation.apply("2.0.0", serving={"replicas": replicas}, rollout={"steps": steps, "interval": "5s"})
        allowed = [0, *(step["weight"] for step in steps)]
        while not serving("2.0.0")(simulation.status):
            simulation.step()
            if simulation.status.phase == "Progressing":
                # Also after the time in which pods became ready, before the operator could react.
                assert simulation.share <= allowed[simulation.status.step.index]
        assert simulation.server.shares == [*allowed[1:], 0]


def test_the_control_group_is_removed_before_the_stable_service_leads_to_the_new_version() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    seen: list[tuple[int, int]] = []

    def watch(_number: int, what: str) -> None:
        if what.startswith("apply Service") and simulation.status.phase == "Promoting":
            seen.append((simulation.control_pods(), simulation.share))

    simulation.server.before_write = watch
    simulation.run(serving("2.0.0"))
    assert seen == [(0, 100)]
    assert (simulation.status.control, simulation.control_pods()) == (None, 0)


def test_in_the_last_step_the_control_group_holds_back_a_share() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout=LAST)
    simulation.run(at_weight(100))
    status = simulation.run_for(10)
    assert (simulation.control_pods(), simulation.weight, status.weight) == (1, 100, 80)


def test_the_weight_follows_the_ready_pods_of_the_control_group() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", paused=False)
    simulation.run(at_share(10))
    simulation.apply("2.0.0", paused=True)
    simulation.run_for(5)
    (group,) = control_groups(simulation)
    name = f"{group['metadata']['name']}-1"
    simulation.server._started_at[name] = simulation.server.now  # the pod is replaced
    simulation.server.advance(0)
    simulation.step()
    assert (simulation.weight, simulation.share) == (15, 10)
    simulation.run_for(10)
    assert (simulation.weight, simulation.share) == (20, 10)
    assert "RouteRepaired" not in reasons(simulation)


def test_a_control_group_that_does_not_become_ready_is_awaited_and_then_ends_the_release() -> None:
    simulation = deployed()
    simulation.run_for(100)
    simulation.server.images = {STABLE: Image(ready_after=100)}
    simulation.apply("2.0.0", rollout={"readyTimeout": "60s", "interval": "5s"})
    status = simulation.run_for(20)
    assert (status.rollout.reason, simulation.weight) == ("WaitingForControl", 0)
    status = simulation.run(phase("RolledBack"), seconds=60)
    assert status.rejected is not None
    assert status.rejected.reason == "ReadyTimeout"
    assert "control pods ready" in status.rejected.message
    assert "stable version 1.0.0: that version or the nodes are at fault" in status.rejected.message
    assert simulation.server.weights in ([], [0])


def test_a_rollback_removes_the_control_group_after_the_traffic() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    removed_at: list[int] = []

    def watch(_number: int, what: str) -> None:
        if what == "delete Deployment":
            removed_at.append(simulation.weight)

    simulation.server.before_write = watch
    simulation.apply("3.0.0")
    status = simulation.run(phase("RolledBack"))
    assert removed_at == [0]
    assert (status.control, control_groups(simulation)) == (None, [])


def test_a_retry_is_compared_with_fresh_pods() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    simulation.apply("3.0.0")
    simulation.run(phase("RolledBack"))
    simulation.server.images = {}
    simulation.server.objects[names.KIND, "iris", "iris"]["metadata"]["annotations"] = {names.ANNOTATION_RETRY: "1"}
    begun = simulation.server.now
    simulation.run(at_weight(10))
    (group,) = control_groups(simulation)
    born = [at for name, at in simulation.server._started_at.items() if name.startswith(group["metadata"]["name"])]
    assert born
    assert min(born) >= begun


def test_the_control_group_that_a_killed_operator_left_behind_is_removed_before_a_release_starts() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    (group,) = control_groups(simulation)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.server.objects["Deployment", "iris", group["metadata"]["name"]] = group
    simulation.apply("2.0.0")
    simulation.step()
    assert (control_groups(simulation), simulation.status.canary) == ([], None)
    simulation.run(serving("2.0.0"))


def test_a_new_version_during_a_rollout_gets_a_control_group_of_its_own() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    simulation.apply("2.1.0")
    status = simulation.run(lambda status: bool(status.canary and status.canary.version == "2.1.0"))
    simulation.run(at_weight(10))
    status = simulation.status
    (group,) = control_groups(simulation)
    assert status.control is not None
    assert group["metadata"]["labels"][names.LABEL_REVISION] == status.control.revision


def test_an_edited_control_group_is_repaired_and_its_step_begins_anew() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(50))
    (group,) = control_groups(simulation)
    group["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"
    edited_at = simulation.server.now
    simulation.step()
    assert "WorkloadRepaired" in reasons(simulation)
    assert simulation.status.analysis is not None
    assert simulation.status.rollout.step_started_at == edited_at
    (group,) = control_groups(simulation)
    assert group["spec"]["template"]["spec"]["containers"][0]["image"] == STABLE


def test_neither_the_autoscaler_nor_a_disruption_budget_is_for_the_control_group() -> None:
    simulation = deployed()
    simulation.apply("1.0.0", serving=AUTOSCALED)
    simulation.run_for(3)
    simulation.apply("2.0.0", serving=AUTOSCALED)
    while not serving("2.0.0")(simulation.status):
        simulation.step()
        for (kind, _, name), item in simulation.server.objects.items():
            if kind == "HorizontalPodAutoscaler":
                assert "-control-" not in item["spec"]["scaleTargetRef"]["name"]
            assert kind != "PodDisruptionBudget" or "-control-" not in name


def test_a_version_that_fails_with_all_of_the_traffic_is_rolled_back_also_while_paused() -> None:
    for paused in (False, True):
        simulation = deployed(v2_0_0=Image())
        simulation.apply("2.0.0", rollout=LAST)
        simulation.run(at_weight(100))
        simulation.apply("2.0.0", rollout=LAST, paused=paused)
        simulation.server.images = {CANARY: Image(error_share=0.3)}
        status = simulation.run(phase("RolledBack"), seconds=60)
        assert status.rejected is not None
        assert status.rejected.reason in ("ErrorRate", "InferenceFailures")
        assert simulation.version_behind_stable_service() == "1.0.0"


def test_the_last_step_needs_a_pass_of_its_own() -> None:
    simulation = deployed()
    rollout = {"steps": [{"weight": 50}, {"weight": 100}], "interval": "5s", "holdTimeout": "2m"}
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(at_weight(100))
    simulation.traffic.error = "Prometheus cannot answer"
    simulation.run_for(60)
    assert (simulation.status.phase, simulation.weight) == ("Progressing", 100)
    status = simulation.run(phase("Paused"))
    assert status.rejected is not None
    assert (status.rejected.reason, simulation.weight) == ("HoldTimeout", 0)


def test_a_comparison_with_stable_as_it_is_has_no_control_group_and_the_weight_is_the_share() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", analysis=STABLE_ONLY)
    simulation.run(at_weight(10))
    assert simulation.status.control is None
    simulation.run(serving("2.0.0"))
    assert simulation.server.weights == [10, 50, 100, 0]
    assert not any("-control-" in name for name in simulation.server._started_at)


def test_a_comparison_with_stable_as_it_is_ends_when_nothing_failed_with_all_of_the_traffic() -> None:
    simulation = deployed(v2_0_0=Image())
    rollout = {**LAST, "holdTimeout": "3m"}
    simulation.apply("2.0.0", analysis=STABLE_ONLY, rollout=rollout)
    simulation.run(at_weight(100))
    simulation.traffic.error = "Prometheus cannot answer"
    simulation.run_for(100)
    assert (simulation.status.phase, simulation.weight) == ("Progressing", 100)
    simulation.traffic.error = ""
    simulation.run(serving("2.0.0"), seconds=20)


def test_a_comparison_with_stable_as_it_is_still_fails_with_all_of_the_traffic() -> None:
    simulation = deployed(v2_0_0=Image())
    simulation.traffic.custom = 1.0
    custom = {"custom": [{"name": "cost", "query": "cost", "max": 5}]}
    simulation.apply("2.0.0", analysis={**STABLE_ONLY, "checks": custom}, rollout=LAST)
    simulation.run(at_weight(100))
    simulation.traffic.custom = 7.0
    simulation.run(phase("RolledBack"), seconds=60)


def test_the_comparison_stays_as_it_began_when_the_setting_changes() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    simulation.apply("2.0.0", analysis=STABLE_ONLY)
    simulation.run(at_weight(50))
    assert simulation.status.control is not None
    simulation.run(serving("2.0.0"))


def _without_backend_label(simulation: Simulation) -> None:
    """As an operator from before the label left it."""
    for (kind, _, _), item in simulation.server.objects.items():
        if kind == "Deployment":
            item["spec"]["template"]["metadata"]["labels"].pop(names.LABEL_BACKEND)


def test_pods_of_an_older_operator_are_not_replaced_for_the_label() -> None:
    simulation = deployed()
    simulation.run_for(10)
    _without_backend_label(simulation)
    stable = simulation.status.stable
    assert stable is not None
    key = ("Deployment", "iris", names.workload_name("iris", stable.revision))
    writes = simulation.server.writes
    simulation.run_for(60)
    assert simulation.server.writes == writes
    simulation.apply("1.0.0", serving={"replicas": 6})
    simulation.run_for(10)
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.run_for(620)
    old = simulation.server.objects[key]
    assert old["spec"]["replicas"] == 0
    assert names.LABEL_BACKEND not in old["spec"]["template"]["metadata"]["labels"]
    steps = [{"weight": 10, "minDuration": "10s"}, {"weight": 50}, {"weight": 100}]
    simulation.apply("1.0.0", rollout={"steps": steps, "interval": "5s", "rollbackWindow": 0})
    simulation.run(at_share(10))
    labels = simulation.server.objects[key]["spec"]["template"]["metadata"]["labels"]
    assert labels[names.LABEL_BACKEND] == stable.revision


def test_mirrored_requests_reach_the_canary_alone_and_both_arms_are_behind_the_service_before_the_first_weight() -> (
    None
):
    simulation = deployed()
    steps = [{"shadow": 20, "minDuration": "10s"}, {"weight": 10}, {"weight": 100}]
    simulation.apply("2.0.0", rollout={"steps": steps, "interval": "5s"})
    at_first_weight: list[tuple[dict[str, str], int]] = []

    def watch(_number: int, what: str) -> None:
        if what.startswith("apply Ingress") and not simulation.weight:
            at_first_weight.append((canary_selector(simulation), len(simulation.endpoints_of_both_arms())))

    simulation.server.before_write = watch
    status = simulation.run(lambda status: status.step.index == 1 and status.rollout.step_started_at is not None)
    assert status.canary is not None
    revision = status.canary.revision
    while simulation.status.step.index == 1:
        assert canary_selector(simulation) == {"release": "iris", "revision": revision}
        assert simulation.control_pods() >= 1
        simulation.step()
    simulation.run(at_weight(10))
    assert at_first_weight[0] == ({"release": "iris", "backend": revision}, 2)
    simulation.run(serving("2.0.0"))


def test_the_time_of_the_first_share_is_kept_over_steps() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    first = simulation.run(at_weight(10)).rollout
    assert first.traffic_since == first.step_started_at is not None
    assert simulation.run(at_weight(50)).rollout.traffic_since == first.traffic_since


@pytest.mark.parametrize("weight", [3, 97])
def test_a_route_edited_by_hand_is_reported_once(weight: int) -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_share(10))
    ingress = simulation.server.objects["Ingress", "iris", "iris-canary"]
    ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = str(weight)
    simulation.step()
    assert simulation.share == 10
    simulation.run_for(3)
    assert reasons(simulation).count("RouteRepaired") == 1


def test_a_change_of_the_weight_that_a_killed_operator_did_not_write_is_no_edit_by_hand() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", paused=False)
    simulation.run(at_share(10))
    simulation.apply("2.0.0", paused=True)
    simulation.run_for(5)
    (group,) = control_groups(simulation)
    simulation.server._started_at[f"{group['metadata']['name']}-1"] = simulation.server.now
    simulation.server.advance(0)

    def die(_number: int, what: str) -> None:
        if what.startswith("apply Ingress"):
            raise OperatorKilled(what)

    simulation.server.before_write = die
    with pytest.raises(OperatorKilled):
        simulation.step()
    simulation.server.before_write = lambda _number, _what: None
    simulation.start_operator()
    simulation.step()
    assert (simulation.weight, simulation.share) == (15, 10)
    simulation.run_for(10)
    assert "RouteRepaired" not in reasons(simulation)


def test_a_pass_from_before_an_incident_does_not_begin_the_next_step() -> None:
    simulation = deployed()
    rollout = {"steps": [{"weight": 10}, {"weight": 50, "approval": True}], "interval": "5s"}
    simulation.apply("2.0.0", rollout=rollout)
    status = simulation.run(phase("Paused"))
    assert status.canary is not None
    release = simulation.server.objects[names.KIND, "iris", "iris"]
    release["metadata"]["annotations"] = {names.ANNOTATION_APPROVED: f"{status.canary.revision}/2"}
    release["status"]["rollout"]["incidentSince"] = simulation.server.now.isoformat()
    simulation.traffic.error = "Prometheus cannot answer"
    simulation.step()
    assert (simulation.status.step.index, simulation.status.rollout.reason) == (1, "SharedIncident")


def test_the_first_weight_after_mirroring_waits_for_the_endpoints_of_the_control_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = deployed()
    steps = [{"shadow": 20, "minDuration": "10s"}, {"weight": 10}, {"weight": 100}]
    simulation.apply("2.0.0", rollout={"steps": steps, "interval": "5s"})
    simulation.run(lambda status: status.step.index == 1)
    list_endpoints = simulation.server._list_endpoints

    def without_control(namespace: str, name: str, service: dict[str, Any]) -> None:
        list_endpoints(namespace, name, service)
        slice_ = simulation.server.objects["EndpointSlice", namespace, f"{name}-slice"]
        slice_["endpoints"] = [each for each in slice_["endpoints"] if "-control-" not in each["targetRef"]["name"]]

    monkeypatch.setattr(simulation.server, "_list_endpoints", without_control)
    simulation.run(lambda status: status.step.index == 2, seconds=60)
    status = simulation.run_for(20)
    assert (simulation.weight, status.rollout.reason) == (0, "WaitingForEndpoints")
    assert "and 1 of the control group" in status.rollout.message
    monkeypatch.undo()
    simulation.run(at_weight(10), seconds=10)
