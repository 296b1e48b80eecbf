"""Whatever is observed, `decide` returns a decision with a reason, and keeps the rules of a rollout."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.verdict import Verdict
from iris_operator.api import names
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import (
    AnalysisStatus,
    ControlStatus,
    Outcome,
    ReleaseStatus,
    RevisionRef,
    RolloutStatus,
    Stage,
    StepStatus,
    WatchStatus,
)
from iris_operator.rollout.control_group import ArmPods, canary_share
from iris_operator.rollout.decide import decide
from iris_operator.rollout.decision import (
    ApplyAutoscaler,
    ApplyControlGroup,
    ApplyDisruptionBudget,
    ApplyShadowConfig,
    ApplyWorkload,
    DeleteWorkload,
    SelectRevision,
    SetWeight,
)
from iris_operator.rollout.observation import (
    Annotation,
    Autoscaler,
    Backend,
    DisruptionBudget,
    Observation,
    Route,
    ShadowConfig,
    Workload,
)

NOW = datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC)
REFS = [
    RevisionRef(revision=name * 10, version=f"{number}.0.0", image=f"r/i:{number}")
    for number, name in enumerate("abc", 1)
]
CONTROL = names.control_revision(REFS[0].revision, REFS[1].revision)
OLD_CONTROL = names.control_revision(REFS[2].revision, REFS[1].revision)
WEIGHTS = st.sampled_from([0, 5, 10, 25, 50, 99, 100])
MOMENTS = st.none() | st.integers(-600, 20_000).map(lambda seconds: NOW - timedelta(seconds=seconds))
LATELY = MOMENTS | st.integers(-1, 12).map(lambda seconds: NOW - timedelta(seconds=seconds))

specs = st.builds(
    lambda weights, paused, failure, approval, scaling, shadow: ReleaseSpec.model_validate(
        {
            "model": {"name": "iris", "version": "1", "image": "r/i:1"},
            "serving": {"replicas": 3, "autoscaling": scaling, "resources": {"requests": {"cpu": "100m"}}},
            "traffic": {"host": "a.b"},
            "rollout": {
                "steps": [
                    *([{"shadow": 20, "approval": approval}] if shadow else []),
                    *({"weight": weight, "approval": approval} for weight in sorted(weights)),
                ],
                "onFailure": failure,
            },
            "paused": paused,
        }
    ),
    st.sets(st.sampled_from([5, 25, 50, 100]), min_size=1),
    st.booleans(),
    st.sampled_from(["Rollback", "Pause"]),
    st.booleans(),
    st.none() | st.just({"minReplicas": 2, "maxReplicas": 3}),
    st.booleans(),
)
backends = st.builds(
    Backend,
    selects=st.none() | st.sampled_from([ref.revision for ref in REFS]),
    intact=st.booleans(),
    ready=st.dictionaries(st.sampled_from([*(ref.revision for ref in REFS), CONTROL]), st.integers(1, 4)),
    with_control=st.booleans(),
)
workloads = st.lists(
    st.builds(
        Workload,
        ref=st.sampled_from(REFS),
        role=st.sampled_from(["stable", "canary", "retired"]),
        replicas=st.integers(0, 3),
        ready=st.integers(0, 3),
        intact=st.booleans(),
        crash_message=st.sampled_from(["", "exited with 1"]),
        retired_at=MOMENTS,
        replicas_owned=st.booleans(),
    )
).map(lambda found: {workload.ref.revision: workload for workload in found})
control_groups = st.lists(
    st.builds(
        Workload,
        ref=st.sampled_from([REFS[0].model_copy(update={"revision": name}) for name in (CONTROL, OLD_CONTROL)]),
        role=st.just("control"),
        replicas=st.integers(0, 3),
        ready=st.integers(0, 3),
        intact=st.booleans(),
    )
).map(lambda found: {workload.ref.revision: workload for workload in found})
judgements = st.none() | st.sampled_from(list(Verdict)).map(
    lambda verdict: Judgement(verdict, (CheckResult("errorRate", verdict, "because"),), {})
)
canary_stages = [Stage.PROGRESSING, Stage.PROMOTING, Stage.ROLLING_BACK]


@st.composite
def statuses(draw: st.DrawFn) -> ReleaseStatus:
    stage = draw(st.sampled_from(list(Stage)))
    lost = draw(st.sampled_from(["", "", "", "stable", "canary"]))  # somebody may have edited the status
    return ReleaseStatus(
        stable=None if stage is Stage.INITIALIZING or lost == "stable" else REFS[0],
        canary=REFS[1] if stage in canary_stages and lost != "canary" else None,
        control=draw(st.none() | st.just(ControlStatus(revision=CONTROL, version="1.0.0", image="r/i:1")))
        if stage in canary_stages
        else None,
        watch=draw(
            st.none()
            | st.builds(
                WatchStatus,
                previous=st.just(REFS[2]),
                until=st.integers(-60, 600).map(lambda seconds: NOW + timedelta(seconds=seconds)),
                judged_at=MOMENTS,
            )
        )
        if stage is Stage.IDLE
        else None,
        step=StepStatus(index=draw(st.integers(0, 4)), count=4),
        analysis=draw(st.none() | st.builds(AnalysisStatus, verdict=st.sampled_from(list(Verdict)), judged_at=LATELY)),
        rollout=RolloutStatus(
            stage=stage,
            confirmed_weight=draw(WEIGHTS),
            step_started_at=draw(MOMENTS),
            hold_since=draw(MOMENTS),
            waiting_since=draw(MOMENTS),
            incident_since=draw(st.none() | MOMENTS),
            retreats=draw(st.integers(0, 3)),
            route_weight=draw(st.none() | WEIGHTS),
            settled_at=draw(MOMENTS),
            outcome=draw(st.none() | st.sampled_from(list(Outcome))),
        ),
    )


observations = st.builds(
    Observation,
    spec=specs,
    status=statuses(),
    generation=st.just(1),
    target=st.sampled_from(REFS),
    workloads=workloads,
    control_groups=control_groups,
    stable=backends,
    canary=backends,
    route=st.builds(Route, exists=st.booleans(), weight=WEIGHTS, intact=st.booleans()),
    autoscaler=st.none()
    | st.builds(
        Autoscaler,
        revision=st.sampled_from([ref.revision for ref in REFS]),
        scale_down_allowed=st.booleans(),
        intact=st.booleans(),
    ),
    disruption_budgets=st.dictionaries(
        st.sampled_from([ref.revision for ref in REFS]),
        st.builds(DisruptionBudget, min_available=st.none() | st.integers(1, 3), intact=st.booleans()),
    ),
    shadow_config=st.none()
    | st.builds(
        ShadowConfig,
        revision=st.none() | st.sampled_from([ref.revision for ref in REFS]),
        share=st.sampled_from([0, 20, 100]),
        intact=st.booleans(),
    ),
    judgement=judgements,
    watch_judgement=judgements,
    deleting=st.booleans(),
)


def only_the_canary_can_answer(observation: Observation) -> bool:
    """Then it has all traffic, whatever step it is in."""
    stable, canary = observation.status.stable, observation.status.canary
    workload = observation.workloads.get(stable.revision) if stable else None
    none_ready = not sum(observation.stable.ready.values()) and (workload is None or workload.ready == 0)
    return none_ready and canary is not None and observation.canary.serves(canary.revision) > 0


@given(observations)
@settings(max_examples=150, deadline=None)
def test_every_observation_gets_a_decision_with_a_reason(observation: Observation) -> None:
    decision = decide(observation, NOW)
    assert decision.reason
    assert decision.requeue_after >= 0
    found = {condition.type: condition.status for condition in decision.status.conditions}
    assert found.keys() - {"Reconciling", "Stalled"} == {"Ready", "Progressing", "Promoted", "Degraded"}


@given(observations)
@settings(max_examples=150, deadline=None)
def test_a_release_counts_as_done_only_when_stable_serves_what_the_spec_asks_for(observation: Observation) -> None:
    """By the rules of kstatus: one of `Reconciling` and `Stalled` is there, or it is done."""
    status = decide(observation, NOW).status
    found = {condition.type: condition.status for condition in status.conditions}
    left = found.keys() & {"Reconciling", "Stalled"}
    assert all(found[kind] == "True" for kind in left)
    assert len(left) <= 1
    if left and not observation.deleting:
        assert found["Promoted"] == "False"
    if not left:
        target = observation.target.revision
        assert status.stable is not None
        assert status.stable.revision == target
        assert observation.workloads[target].ready > 0
        assert observation.stable.serves(target) > 0
        assert (observation.route.exists, observation.route.weight) == (True, 0)
        assert (found["Ready"], found["Promoted"], found["Degraded"]) == ("True", "True", "False")


@given(observations)
@settings(max_examples=150, deadline=None)
def test_the_same_observation_gets_the_same_decision(observation: Observation) -> None:
    assert decide(observation, NOW) == decide(observation, NOW)


@given(observations)
@settings(max_examples=250, deadline=None)
def test_a_step_begins_only_after_a_current_pass(observation: Observation) -> None:
    before, after = observation.status, decide(observation, NOW).status
    begun = (
        after.rollout.stage is Stage.PROGRESSING
        and after.canary == before.canary
        and after.step.index > before.step.index
    )
    if begun and before.step.index > 0 and not only_the_canary_can_answer(observation):
        assert not observation.spec.paused
        if observation.judgement is not None:
            assert observation.judgement.verdict is Verdict.PASS
            return
        # The judgement of the newest tick, made in this step.
        assert before.analysis is not None
        assert before.analysis.verdict == Verdict.PASS
        assert before.analysis.judged_at is not None
        assert before.rollout.step_started_at is not None
        assert before.rollout.step_started_at < before.analysis.judged_at <= NOW
        assert NOW - before.analysis.judged_at < timedelta(seconds=parse_duration(observation.spec.rollout.interval))


@given(observations)
@settings(max_examples=250, deadline=None)
def test_the_weight_rises_only_with_ready_endpoints_and_never_above_the_confirmed_one(observation: Observation) -> None:
    decision = decide(observation, NOW)
    for action in decision.actions:
        if isinstance(action, SetWeight) and action.weight > observation.route.weight:
            canary = observation.status.canary
            assert canary is not None
            assert observation.canary.serves(canary.revision) > 0 or observation.status.rollout.stage is Stage.PROMOTING


@given(observations, st.sampled_from(["true", "database migration"]))
@settings(max_examples=250, deadline=None)
def test_a_hold_raises_no_weight_begins_nothing_and_withdraws_the_traffic_first(
    observation: Observation, value: str
) -> None:
    observation = replace(observation, annotations={names.ANNOTATION_HOLD: Annotation(value)}, deleting=False)
    decision, before = decide(observation, NOW), observation.status
    if decision.status.rollout.reason == "InconsistentStatus":
        return
    assert all(action.weight == 0 for action in decision.actions if isinstance(action, SetWeight))
    if before.rollout.stage is Stage.IDLE:
        assert decision.status.canary is None
    progressing = before.rollout.stage is Stage.PROGRESSING and observation.route.weight > 0
    if progressing and not only_the_canary_can_answer(observation):
        assert SetWeight(0) in decision.actions[:2]


@given(observations)
@settings(max_examples=250, deadline=None)
def test_a_failing_check_withdraws_the_traffic_first(observation: Observation) -> None:
    decision = decide(observation, NOW)
    started = (
        decision.status.rollout.stage is Stage.ROLLING_BACK
        and observation.status.rollout.stage is not Stage.ROLLING_BACK
    )
    if started and decision.actions:
        kinds = [type(action) for action in decision.actions]
        assert kinds in ([SetWeight], [SelectRevision], [SelectRevision, SetWeight])


@given(observations)
@settings(max_examples=250, deadline=None)
def test_no_weight_moves_to_a_stable_without_ready_pods_while_the_canary_serves(
    observation: Observation,
) -> None:
    if observation.status.stable is None or observation.deleting:
        return
    if only_the_canary_can_answer(observation):
        assert SetWeight(0) not in decide(observation, NOW).actions or observation.route.weight == 0


@given(observations)
@settings(max_examples=250, deadline=None)
def test_the_replicas_of_stable_are_never_written_while_an_autoscaler_decides(observation: Observation) -> None:
    stable = observation.status.stable
    seen = observation.workloads.get(stable.revision) if stable else None
    initial = observation.status.rollout.stage is Stage.INITIALIZING
    if stable is None or seen is None or not seen.replicas or initial or observation.spec.serving.autoscaling is None:
        return
    decision = decide(observation, NOW)
    if decision.status.stable != stable:
        return
    written = [a.replicas for a in decision.actions if isinstance(a, ApplyWorkload) and a.ref == stable]
    if decision.status.rollout.stage is Stage.PROMOTING:
        written = []  # it is retired, and the autoscaler has been handed on
    assert set(written) <= {None}


@given(observations)
@settings(max_examples=250, deadline=None)
def test_requests_are_mirrored_only_to_the_canary_of_a_release_with_a_shadow_step(
    observation: Observation,
) -> None:
    decision = decide(observation, NOW)
    for action in decision.actions:
        if isinstance(action, ApplyShadowConfig) and action.revision is not None:
            assert decision.status.canary is not None
            assert action.revision == decision.status.canary.revision
            assert decision.status.rollout.stage is Stage.PROGRESSING
            assert any(step.shadow for step in observation.spec.rollout.steps)


@given(observations)
@settings(max_examples=250, deadline=None)
def test_no_shadow_action_precedes_the_withdrawal_of_traffic(observation: Observation) -> None:
    actions = decide(observation, NOW).actions
    if SetWeight(0) in actions and observation.route.weight > 0:
        before = actions[: actions.index(SetWeight(0))]
        rolling_back = observation.status.rollout.stage is Stage.ROLLING_BACK
        assert not rolling_back or not any(isinstance(action, ApplyShadowConfig) for action in before)


@given(observations)
@settings(max_examples=400, deadline=None)
def test_a_weight_that_is_set_gives_the_canary_at_most_the_share_of_its_step(observation: Observation) -> None:
    decision = decide(observation, NOW)
    stage, index = decision.status.rollout.stage, decision.status.step.index
    control, backend = observation.status.control, observation.canary
    canary = observation.status.canary
    if stage is not Stage.PROGRESSING or canary is None or backend.selects != canary.revision:
        return
    counted = backend.ready.get(control.revision, 0) if control and backend.with_control else 0
    pods = ArmPods(backend.ready.get(canary.revision, 0), counted)
    steps = observation.spec.rollout.steps
    allowed = [0, *(step.weight for step in steps), 100][min(index, len(steps) + 1)]
    for action in decision.actions:
        if isinstance(action, SetWeight) and pods.canary:
            assert canary_share(action.weight, pods) <= allowed


@given(observations)
@settings(max_examples=400, deadline=None)
def test_promotion_begins_after_a_current_judgement_of_the_last_step_and_not_during_an_incident(
    observation: Observation,
) -> None:
    before, after = observation.status, decide(observation, NOW).status
    if before.rollout.stage is not Stage.PROGRESSING or after.rollout.stage is not Stage.PROMOTING:
        return
    assert not observation.spec.paused
    assert before.rollout.incident_since is None
    assert before.rollout.confirmed_weight == 100
    assert after.analysis is not None
    assert after.analysis.verdict in (("Pass",) if before.control else ("Pass", "Hold"))
    assert after.analysis.judged_at is not None
    assert before.rollout.step_started_at is not None
    assert before.rollout.step_started_at < after.analysis.judged_at


@given(observations)
@settings(max_examples=250, deadline=None)
def test_the_stable_service_leads_to_the_canary_only_when_no_control_pod_has_traffic(observation: Observation) -> None:
    canary = observation.status.canary
    if canary is None or observation.stable.selects == canary.revision:
        return
    if SelectRevision("stable", canary.revision) in decide(observation, NOW).actions and observation.status.control:
        assert not observation.control_groups
        assert observation.canary.serves_only(canary.revision)


@given(observations)
@settings(max_examples=250, deadline=None)
def test_a_control_group_is_applied_for_the_rollout_in_progress_only_and_scaled_by_nobody_else(
    observation: Observation,
) -> None:
    decision = decide(observation, NOW)
    for action in decision.actions:
        if isinstance(action, ApplyControlGroup):
            assert decision.status.control is not None
            assert names.control_revision(action.stable.revision, action.canary.revision) == CONTROL
        if isinstance(action, ApplyWorkload):
            assert not names.is_control_revision(action.ref.revision)
        if isinstance(action, (ApplyAutoscaler, ApplyDisruptionBudget)):
            assert not names.is_control_revision(action.revision)
        if isinstance(action, DeleteWorkload) and action.revision == CONTROL:
            progressing = decision.status.rollout.stage is Stage.PROGRESSING and not observation.deleting
            assert not progressing or observation.status.control is None


@given(observations)
@settings(max_examples=400, deadline=None)
def test_a_promoted_version_goes_back_only_after_a_failure_and_only_to_ready_pods(observation: Observation) -> None:
    before, after = observation.status, decide(observation, NOW).status
    if before.rollout.stage is not Stage.IDLE or after.rollout.stage is not Stage.ROLLING_BACK:
        return
    assert before.watch is not None
    assert before.stable is not None
    assert after.stable == before.watch.previous
    assert after.canary == before.stable == observation.target
    assert observation.workloads[before.watch.previous.revision].ready > 0
    promoted = observation.workloads.get(before.stable.revision)
    judgement = observation.watch_judgement
    assert promoted is None or not promoted.ready or (judgement is not None and judgement.verdict is Verdict.FAIL)
