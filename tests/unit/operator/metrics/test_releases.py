"""What Prometheus scrapes from the operator, over whole releases in virtual time."""

from __future__ import annotations

import pytest

from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.reconcile import ReconcileOutcome, Result
from iris_operator.engine.snapshot import PodRestarts, Snapshot
from iris_operator.metrics.releases import CAUSES, DECISIONS
from iris_operator.metrics.server import OperatorMetrics
from iris_operator.rollout.observation import Workload
from support.operator.api_server import Image
from support.operator.measured import KEY, Measured, value
from support.operator.simulation import at_share, phase, serving


def names(telemetry: OperatorMetrics) -> set[str]:
    return {
        sample.name
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.labels.get("release") == "iris"
    }


def test_a_progressing_canary_has_metrics_of_weight_step_pods_and_evidence() -> None:
    measured = Measured()
    measured.release("1.0.0", serving("1.0.0"))
    measured.release("2.0.0", at_share(50))
    status = measured.simulation.status
    assert status.stable
    assert status.canary
    assert status.analysis
    assert measured("iris_release_weight") == 50
    assert (measured("iris_release_step"), measured("iris_release_steps")) == (2, 3)
    assert measured("iris_release_phase", phase="Progressing") == 1
    assert measured("iris_release_phase", phase="Stable") == 0
    labels = {
        "stable": "1.0.0",
        "stable_revision": status.stable.revision,
        "canary": "2.0.0",
        "canary_revision": status.canary.revision,
    }
    assert measured("iris_release_info", **labels) == 1
    pods = {"revision": status.canary.revision, "version": "2.0.0", "role": "canary"}
    assert (measured("iris_revision_pods_wanted", **pods), measured("iris_revision_pods_ready", **pods)) == (4, 4)
    assert status.control
    pods = {"revision": status.control.revision, "version": "1.0.0", "role": "control"}
    assert (measured("iris_revision_pods_wanted", **pods), measured("iris_revision_pods_ready", **pods)) == (2, 2)
    for check in status.analysis.checks:
        assert measured("iris_check_verdict", check=check.name, verdict=check.verdict) == 1
    for check in (each for each in status.analysis.checks if each.name not in ("trafficSplit", "featureDrift")):
        assert check.evidence
        assert measured("iris_check_evidence", check=check.name, says="good") == check.evidence.good
        assert measured("iris_check_evidence_needed", check=check.name, says="worse") == check.evidence.rollback_at
    assert measured("iris_release_held_since_timestamp_seconds") is not None


def test_a_rollback_is_counted_once_with_its_cause_and_exposed_until_the_spec_changes() -> None:
    measured = Measured(v2_0_0=Image(error_share=1.0))
    measured.release("1.0.0", serving("1.0.0"))
    assert measured("iris_release_rollbacks_total", reason="ErrorRate") == 0
    measured.release("2.0.0", phase("RolledBack"))
    assert measured("iris_release_rollbacks_total", reason="ErrorRate") == 1
    assert measured("iris_release_decisions_total", reason="RolledBack") == 1
    assert measured("iris_release_rejected", version="2.0.0", reason="ErrorRate") == 1
    measured.release("1.0.0", serving("1.0.0"))
    assert measured("iris_release_rejected", version="2.0.0", reason="ErrorRate") is None
    assert measured("iris_release_rollbacks_total", reason="ErrorRate") == 1


def test_every_counter_is_exposed_as_0_before_its_first_event() -> None:
    measured = Measured()
    measured.release("1.0.0", serving("1.0.0"))
    assert {"ErrorRate", "Latency", "Crash", "HoldTimeout"} <= set(CAUSES)
    assert [cause for cause in CAUSES if measured("iris_release_rollbacks_total", reason=cause) != 0] == []
    seen = {reason: measured("iris_release_decisions_total", reason=reason) for reason in DECISIONS}
    assert {reason for reason, count in seen.items() if count} == {"Deploying", "Deployed"}
    assert None not in seen.values()


def test_a_deleted_release_leaves_no_series() -> None:
    measured = Measured()
    measured.release("1.0.0", serving("1.0.0"))
    assert "iris_release_phase" in names(measured.telemetry)
    measured.telemetry.reconciled(KEY, ReconcileOutcome(0, finished=True), 0)
    assert names(measured.telemetry) == set()


def test_the_last_success_does_not_change_while_reconciles_fail() -> None:
    telemetry = OperatorMetrics()
    status = ReleaseStatus()
    telemetry.reconciled(KEY, ReconcileOutcome(1, snapshot=Snapshot(status)), at=100.0)
    telemetry.reconciled(KEY, ReconcileOutcome(1, result=Result.FAILED, snapshot=Snapshot(status)), at=200.0)
    assert value(telemetry.registry, "iris_reconcile_last_success_timestamp_seconds") == 100.0
    assert telemetry.registry.get_sample_value("iris_reconciles_total", {"result": "failed"}) == 1
    assert telemetry.registry.get_sample_value("iris_reconciles_total", {"result": "done"}) == 1


@pytest.mark.parametrize(
    ("counts", "restarts"),
    [
        ([{"old": 7}], 0),  # from before this process
        ([{"old": 7}, {"old": 9}], 2),
        ([{}, {"new": 3}], 3),
        ([{}, {"new": 3}, {}], 3),  # the pod is gone, its restarts still count
        ([{}, {"new": 3}, {"other": 1}], 4),
    ],
)
def test_restarts_add_up_over_pods_that_come_and_go(counts: list[dict[str, int]], restarts: int) -> None:
    telemetry = OperatorMetrics()
    canary = ReleaseStatus.model_validate({"canary": {"revision": "a", "version": "2", "image": "i"}}).canary
    assert canary
    workload = Workload(canary, "canary", 1)
    for pods in counts:
        seen = {uid: PodRestarts("a", count) for uid, count in pods.items()}
        telemetry.releases.observe(KEY, Snapshot(ReleaseStatus(), (workload,), seen))
    labels = {"revision": "a", "version": "2", "role": "canary"}
    assert value(telemetry.registry, "iris_revision_restarts_total", **labels) == restarts


def test_a_failed_reconcile_keeps_the_last_observed_pods() -> None:
    telemetry = OperatorMetrics()
    ref = ReleaseStatus.model_validate({"stable": {"revision": "a", "version": "1", "image": "i"}}).stable
    assert ref
    telemetry.releases.observe(KEY, Snapshot(ReleaseStatus(), (Workload(ref, "stable", 2, ready=1),)))
    telemetry.releases.observe(KEY, Snapshot(ReleaseStatus()))
    labels = {"revision": "a", "version": "1", "role": "stable"}
    assert value(telemetry.registry, "iris_revision_pods_ready", **labels) == 1
