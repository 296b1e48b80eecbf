"""Whole releases in virtual time: what a user applies, what it leads to, and what status and events say."""

from __future__ import annotations

from iris_operator.api import names
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_share, at_weight, phase, serving


def deployed(**images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    return simulation


def condition(simulation: Simulation, kind: str) -> tuple[str, str]:
    found = next(c for c in simulation.status.conditions if c.type == kind)
    return found.status, found.reason


def test_the_first_version_serves_without_taking_steps() -> None:
    simulation = deployed()
    assert simulation.server.shares == []
    assert simulation.version_behind_stable_service() == "1.0.0"
    assert condition(simulation, "Promoted") == ("True", "Promoted")
    assert condition(simulation, "Ready") == ("True", "Serving")


def test_there_is_no_route_to_the_first_version_before_its_pods_are_ready() -> None:
    simulation = Simulation(v1_0_0=Image(ready_after=30))
    simulation.apply("1.0.0")
    simulation.run_for(25)
    assert ("Ingress", "iris", "iris") not in simulation.server.objects
    simulation.run(serving("1.0.0"))
    assert ("Ingress", "iris", "iris") in simulation.server.objects


def test_a_crashing_first_version_is_degraded_with_a_reason_and_a_fixed_one_serves() -> None:
    simulation = Simulation(v1_0_0=Image(crash="model.onnx: digest differs"))
    simulation.apply("1.0.0")
    status = simulation.run(phase("Degraded"))
    assert "digest differs" in status.rollout.message
    simulation.apply("1.0.1")
    simulation.run(serving("1.0.1"))


def test_a_good_version_takes_every_step_and_is_promoted() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    status = simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]
    assert simulation.version_behind_stable_service() == "2.0.0"
    assert [(entry.version, entry.outcome) for entry in status.history] == [
        ("2.0.0", "Promoted"),
        ("1.0.0", "Promoted"),
    ]
    reasons = [reason for reason, _ in simulation.server.events]
    assert reasons == ["Deploying", "Deployed", "ReleaseStarted", *["WeightShifted"] * 3, "Promoted"]


def test_a_promotion_restarts_no_pod_and_the_old_version_is_scaled_down_later() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(100))
    born = dict(simulation.server._started_at)
    simulation.run(serving("2.0.0"))
    kept = {name: when for name, when in born.items() if "-control-" not in name}
    assert {name: when for name, when in simulation.server._started_at.items() if name in born} == kept
    old = simulation.server.objects[
        "Deployment", "iris", names.workload_name("iris", simulation.status.history[1].revision)
    ]
    assert (old["metadata"]["labels"][names.LABEL_ROLE], old["spec"]["replicas"]) == ("retired", 4)
    simulation.run_for(620)  # the default of rollout.watch, which is longer than scaleDownDelay
    old = simulation.server.objects["Deployment", "iris", old["metadata"]["name"]]
    assert old["spec"]["replicas"] == 0


def test_canary_pods_are_ready_before_the_weight_rises() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    simulation.run_for(4)
    canary = simulation.status.canary
    assert canary is not None
    assert (
        simulation.server.objects["Deployment", "iris", names.workload_name("iris", canary.revision)]["spec"][
            "replicas"
        ]
        == 2
    )


def test_errors_roll_back_in_the_reconcile_that_detects_them() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    simulation.apply("3.0.0")
    status = simulation.run(lambda status: status.analysis is not None and status.analysis.verdict == "Fail")
    assert simulation.weight == 0
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason == "ErrorRate"
    assert "canary 5xx 53 % of 15 requests" in status.rejected.message
    assert condition(simulation, "Promoted") == ("False", "RolledBack")
    assert simulation.version_behind_stable_service() == "1.0.0"


def test_higher_latency_rolls_back() -> None:
    simulation = deployed(v4_0_0=Image(slow_share=0.9))
    simulation.apply("4.0.0")
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason == "Latency"
    assert max(simulation.server.shares) == 10


def test_a_crash_rolls_the_canary_back_before_it_has_traffic() -> None:
    simulation = deployed(v5_0_0=Image(crash="artifact is truncated"))
    simulation.apply("5.0.0")
    status = simulation.run(phase("RolledBack"), seconds=30)
    assert status.rejected is not None
    assert status.rejected.reason == "Crash"
    assert "artifact is truncated" in status.rejected.message
    assert simulation.server.weights in ([], [0])


def test_a_rolled_back_version_stays_rolled_back_until_a_retry_is_requested() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    simulation.apply("3.0.0")
    simulation.run(phase("RolledBack"))
    writes = simulation.server.writes
    simulation.run_for(200)
    assert simulation.server.writes == writes
    release = simulation.server.objects[names.KIND, "iris", "iris"]
    release["metadata"]["annotations"] = {names.ANNOTATION_RETRY: "1"}
    simulation.run(phase("Progressing"))
    simulation.run(phase("RolledBack"))


def test_a_new_version_during_a_rollout_starts_again_from_weight_0() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(50))
    simulation.apply("2.1.0")
    simulation.run(serving("2.1.0"))
    assert simulation.server.shares == [10, 50, 0, 10, 50, 100, 0]
    outcomes = [(entry.version, entry.outcome) for entry in simulation.status.history]
    assert outcomes == [("2.1.0", "Promoted"), ("2.0.0", "Superseded"), ("1.0.0", "Promoted")]


def test_the_previous_version_applied_during_a_rollout_returns_to_stable_at_once() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(50))
    simulation.apply("1.0.0")
    simulation.step()
    assert simulation.weight == 0
    status = simulation.run(serving("1.0.0"), seconds=30)
    assert status.rejected is None
    assert condition(simulation, "Promoted") == ("True", "Promoted")


def test_pausing_holds_the_step_and_resuming_continues() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    simulation.apply("2.0.0", paused=True)
    simulation.run_for(300)
    assert (simulation.status.phase, simulation.share) == ("Paused", 10)
    assert condition(simulation, "Promoted") == ("False", "Paused")
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))


def test_a_paused_release_is_still_rolled_back_when_it_fails() -> None:
    simulation = deployed(v2_0_0=Image())
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    simulation.apply("2.0.0", paused=True)
    simulation.run_for(20)
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(error_share=0.5)}
    simulation.run(phase("RolledBack"))


def test_a_step_that_asks_for_an_approval_waits_for_it() -> None:
    simulation = deployed()
    rollout = {"steps": [{"weight": 10}, {"weight": 50, "approval": True}], "interval": "5s", "holdTimeout": "60s"}
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(phase("Paused"))
    simulation.run_for(300)
    assert simulation.share == 10
    canary = simulation.status.canary
    assert canary is not None
    release = simulation.server.objects[names.KIND, "iris", "iris"]
    release["metadata"]["annotations"] = {names.ANNOTATION_APPROVED: f"{canary.revision}/2"}
    simulation.run(serving("2.0.0"))


def test_without_metrics_nothing_is_promoted_nor_failed_and_the_hold_ends_at_weight_0() -> None:
    simulation = deployed()
    simulation.traffic.error = "Prometheus cannot answer: connection refused"
    rollout = {"steps": [{"weight": 10}, {"weight": 100}], "interval": "5s", "holdTimeout": "120s"}
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(at_weight(10))
    simulation.run_for(100)
    analysis = simulation.status.analysis
    assert analysis is not None
    assert (simulation.status.phase, simulation.share, analysis.verdict) == ("Progressing", 10, "Error")
    status = simulation.run(phase("Paused"))
    assert simulation.weight == 0
    assert status.rejected is not None
    assert status.rejected.reason == "HoldTimeout"


def test_on_failure_pause_sets_weight_0_and_keeps_the_pods() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    rollout = {"steps": [{"weight": 10}], "interval": "5s", "onFailure": "Pause", "scaleDownDelay": "10s"}
    simulation.apply("3.0.0", rollout=rollout)
    simulation.run(phase("Paused"))
    simulation.run_for(300)
    assert simulation.weight == 0
    assert condition(simulation, "Promoted") == ("False", "Paused")
    assert simulation.end_state()["deployments"]["3.0.0"] == ("canary", 4)
    simulation.apply("4.0.0", rollout=rollout)
    simulation.run(serving("4.0.0"))
    simulation.run_for(30)
    assert simulation.end_state()["deployments"]["3.0.0"] == ("retired", 0)


def test_too_few_requests_hold() -> None:
    simulation = deployed()
    simulation.traffic.rate = 1.0
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    simulation.run_for(300)
    assert simulation.share == 10
    assert simulation.status.analysis is not None
    assert simulation.status.analysis.verdict == "Hold"


def test_a_canary_that_never_becomes_ready_is_rolled_back_after_its_timeout() -> None:
    simulation = deployed(v2_0_0=Image(ready_after=10_000))
    simulation.apply("2.0.0", rollout={"readyTimeout": "60s", "interval": "5s"})
    status = simulation.run(phase("RolledBack"), seconds=90)
    assert status.rejected is not None
    assert status.rejected.reason == "ReadyTimeout"


def test_a_broken_promotion_returns_to_the_old_version() -> None:
    simulation = deployed(v2_0_0=Image())
    simulation.apply("2.0.0")
    simulation.run(phase("Promoting"))
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(crash="killed")}
    simulation.server.advance(0)
    simulation.run(phase("RolledBack"))
    assert (simulation.version_behind_stable_service(), simulation.weight) == ("1.0.0", 0)


def test_the_weight_does_not_rise_while_the_canary_has_no_endpoints() -> None:
    simulation = deployed()
    simulation.server.endpoints_listed = False
    simulation.apply("2.0.0", rollout={"readyTimeout": "10m"})
    simulation.run_for(120)
    assert (simulation.status.phase, simulation.server.shares) == ("Progressing", [])
    simulation.server.endpoints_listed = True
    simulation.run(serving("2.0.0"))


def test_a_started_step_does_not_set_its_weight_without_endpoints() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    ingress = simulation.server.objects["Ingress", "iris", "iris-canary"]
    ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = "0"
    simulation.server.endpoints_listed = False
    simulation.server.advance(0)
    simulation.run_for(20)
    assert simulation.weight == 0
    simulation.server.endpoints_listed = True
    simulation.run(at_weight(10))


def test_a_failing_canary_has_the_traffic_while_stable_has_no_ready_pod() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    simulation.apply("3.0.0")
    simulation.run(at_weight(10))
    simulation.server.images = {**simulation.server.images, "registry.example.com/iris:1.0.0": Image(ready_after=9999)}
    simulation.server.advance(0)
    simulation.run_for(60)
    assert (simulation.status.phase, simulation.share) == ("RollingBack", 100)
    # When the canary took over, and when it failed.
    assert [reason for reason, _ in simulation.server.events].count("StableUnavailable") == 2
    simulation.server.images = {"registry.example.com/iris:3.0.0": Image(error_share=0.5)}
    simulation.run(phase("RolledBack"))
    assert simulation.weight == 0


def test_weights_edited_by_hand_are_reset_without_a_new_step() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_share(10))
    ingress = simulation.server.objects["Ingress", "iris", "iris-canary"]
    ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = "90"
    simulation.step()
    assert simulation.share == 10
    assert "RouteRepaired" in [reason for reason, _ in simulation.server.events]


def test_a_deployment_edited_by_hand_is_repaired_and_its_step_begins_anew() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(50))
    canary = simulation.status.canary
    assert canary is not None
    key = ("Deployment", "iris", names.workload_name("iris", canary.revision))
    simulation.server.objects[key]["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"
    edited_at = simulation.server.now
    simulation.step()
    assert "WorkloadRepaired" in [reason for reason, _ in simulation.server.events]
    assert simulation.status.analysis is not None
    assert simulation.status.rollout.step_started_at == edited_at
    image = simulation.server.objects[key]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.example.com/iris:2.0.0"


def test_steps_raised_during_a_rollout_do_not_raise_the_confirmed_weight() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 80}, {"weight": 100}], "interval": "5s"})
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 100, 0]


def test_evidence_for_a_smaller_step_does_not_count_for_a_larger_one_it_was_edited_to() -> None:
    simulation = deployed()
    simulation.apply(
        "2.0.0", rollout={"steps": [{"weight": 10, "minDuration": "1m"}, {"weight": 11}], "interval": "20s"}
    )
    simulation.run(lambda status: bool(status.analysis and status.analysis.verdict == "Pass"))
    simulation.traffic.error = "Prometheus is away"
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 10}, {"weight": 100}], "interval": "20s"})
    simulation.run_for(15)
    assert (simulation.status.step.index, simulation.server.shares) == (1, [10])
    simulation.traffic.error = ""
    simulation.run(serving("2.0.0"))


def test_a_step_edited_before_it_begins_needs_evidence_for_its_new_weight() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(lambda status: status.step.index == 2)
    simulation.traffic.error = "Prometheus is away"
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 10}, {"weight": 100}], "interval": "5s"})
    simulation.run_for(30)
    assert (simulation.status.step.index, simulation.share) == (1, 10)


def test_a_step_edited_into_the_last_one_does_not_count_as_reached() -> None:
    simulation = deployed()
    simulation.apply(
        "2.0.0", rollout={"steps": [{"weight": 10}, {"weight": 50}], "interval": "5s", "holdTimeout": "1m"}
    )
    simulation.run(at_weight(50))
    simulation.traffic.error = "Prometheus is away"
    simulation.apply(
        "2.0.0", rollout={"steps": [{"weight": 10}, {"weight": 100}], "interval": "5s", "holdTimeout": "1m"}
    )
    simulation.run_for(10)
    assert simulation.share == 10
    simulation.run(phase("Paused"))
    assert (simulation.server.shares, simulation.weight) == ([10, 50, 0], 0)


def test_a_version_outside_the_rollback_window_is_scaled_up_again_and_takes_the_steps() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.run_for(320)
    steps = [{"weight": 10, "minDuration": "10s"}, {"weight": 50}, {"weight": 100}]
    simulation.apply("1.0.0", rollout={"steps": steps, "interval": "5s", "rollbackWindow": 0})
    simulation.run(serving("1.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0, 10, 50, 100, 0]


def test_retired_revisions_beyond_the_history_limit_are_deleted() -> None:
    simulation = deployed()
    rollout = {"steps": [{"weight": 100}], "interval": "5s", "historyLimit": 1, "scaleDownDelay": "1s"}
    for version in ("2.0.0", "3.0.0", "4.0.0"):
        simulation.apply(version, rollout=rollout)
        simulation.run(serving(version))
    simulation.run_for(5)
    assert sorted(simulation.end_state()["deployments"]) == ["3.0.0", "4.0.0"]


def test_a_deletion_during_a_rollout_returns_the_traffic_before_the_canary_is_removed() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(50))
    simulation.server.objects[names.KIND, "iris", "iris"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    removed_at: list[int] = []
    simulation.server.before_write = lambda _, what: removed_at.append(simulation.weight) if "delete" in what else None
    while not simulation.step().finished:
        pass
    assert removed_at == [0, 0], "the canary and its control group"
    assert list(simulation.end_state()["deployments"]) == ["1.0.0"]


def test_an_invalid_release_is_degraded_with_the_field_named_and_changes_nothing() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0", traffic={"host": "a.example.com", "router": "Carrier pigeon"})
    simulation.step()
    assert simulation.status.phase == "Degraded"
    assert "spec.traffic.router" in next(c for c in simulation.status.conditions if c.type == "Degraded").message
    assert {key[0] for key in simulation.server.objects} == {names.KIND}


def test_an_idle_release_is_not_written_to() -> None:
    simulation = deployed()
    simulation.run_for(10)
    writes = simulation.server.writes
    simulation.run_for(600)
    assert simulation.server.writes == writes
