"""Whatever the world looks like, `decide` answers, says why, and keeps the laws of the rollout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import (
    AnalysisStatus,
    Outcome,
    ReleaseStatus,
    RevisionRef,
    RolloutStatus,
    Stage,
    StepStatus,
)
from iris_operator.rollout.decide import decide
from iris_operator.rollout.decision import ApplyWorkload, Mirror, PointService, SetWeight
from iris_operator.rollout.observation import Autoscaler, Backend, Budget, Observation, Route, Shadowing, Workload

NOW = datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC)
REFS = [
    RevisionRef(revision=name * 10, version=f"{number}.0.0", image=f"r/i:{number}")
    for number, name in enumerate("abc", 1)
]
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
    ready=st.dictionaries(st.sampled_from([ref.revision for ref in REFS]), st.integers(1, 4)),
)
workloads = st.lists(
    st.builds(
        Workload,
        ref=st.sampled_from(REFS),
        role=st.sampled_from(["stable", "canary", "retired"]),
        replicas=st.integers(0, 3),
        ready=st.integers(0, 3),
        intact=st.booleans(),
        crash=st.sampled_from(["", "exited with 1"]),
        retired_at=MOMENTS,
        scaled_by_us=st.booleans(),
    )
).map(lambda found: {workload.ref.revision: workload for workload in found})
judgements = st.none() | st.sampled_from(list(Verdict)).map(
    lambda verdict: Judgement(verdict, (CheckResult("errorRate", verdict, "because"),), {})
)
canary_stages = [Stage.PROGRESSING, Stage.PROMOTING, Stage.ROLLING_BACK]


@st.composite
def statuses(draw: st.DrawFn) -> ReleaseStatus:
    stage = draw(st.sampled_from(list(Stage)))
    torn = draw(st.sampled_from(["", "", "", "stable", "canary"]))  # somebody may have edited the status
    return ReleaseStatus(
        stable=None if stage is Stage.INITIALIZING or torn == "stable" else REFS[0],
        canary=REFS[1] if stage in canary_stages and torn != "canary" else None,
        step=StepStatus(index=draw(st.integers(0, 4)), count=4),
        analysis=draw(st.none() | st.builds(AnalysisStatus, verdict=st.sampled_from(list(Verdict)), judged_at=LATELY)),
        rollout=RolloutStatus(
            stage=stage,
            confirmed_weight=draw(WEIGHTS),
            step_started_at=draw(MOMENTS),
            hold_since=draw(MOMENTS),
            waiting_since=draw(MOMENTS),
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
    stable=backends,
    canary=backends,
    route=st.builds(Route, exists=st.booleans(), weight=WEIGHTS, intact=st.booleans()),
    autoscaler=st.none()
    | st.builds(
        Autoscaler,
        revision=st.sampled_from([ref.revision for ref in REFS]),
        shrinks=st.booleans(),
        intact=st.booleans(),
    ),
    budgets=st.dictionaries(
        st.sampled_from([ref.revision for ref in REFS]),
        st.builds(Budget, at_least=st.none() | st.integers(1, 3), intact=st.booleans()),
    ),
    shadowing=st.none()
    | st.builds(
        Shadowing,
        revision=st.none() | st.sampled_from([ref.revision for ref in REFS]),
        share=st.sampled_from([0, 20, 100]),
        intact=st.booleans(),
    ),
    judgement=judgements,
    deleting=st.booleans(),
)


@given(observations)
@settings(max_examples=150, deadline=None)
def test_every_world_gets_an_answer_with_a_reason(observation: Observation) -> None:
    decision = decide(observation, NOW)
    assert decision.reason
    assert decision.wake_after >= 0
    assert {condition.type for condition in decision.status.conditions} == {
        "Ready",
        "Progressing",
        "Promoted",
        "Degraded",
    }


@given(observations)
@settings(max_examples=150, deadline=None)
def test_the_same_world_gets_the_same_answer(observation: Observation) -> None:
    assert decide(observation, NOW) == decide(observation, NOW)


@given(observations)
@settings(max_examples=250, deadline=None)
def test_a_step_is_begun_only_by_a_fresh_pass(observation: Observation) -> None:
    before, after = observation.status, decide(observation, NOW).status
    begun = (
        after.rollout.stage is Stage.PROGRESSING
        and after.canary == before.canary
        and after.step.index > before.step.index
    )
    if begun and before.step.index > 0:
        assert not observation.spec.paused
        if observation.judgement is not None:
            assert observation.judgement.verdict is Verdict.PASS
            return
        # That of the newest tick, made in this step.
        assert before.analysis is not None
        assert before.analysis.verdict == Verdict.PASS
        assert before.analysis.judged_at is not None
        assert before.rollout.step_started_at is not None
        assert before.rollout.step_started_at < before.analysis.judged_at <= NOW
        assert NOW - before.analysis.judged_at < timedelta(seconds=parse_duration(observation.spec.rollout.interval))


@given(observations)
@settings(max_examples=250, deadline=None)
def test_the_weight_rises_only_onto_ready_endpoints_and_never_above_what_was_earned(observation: Observation) -> None:
    decision = decide(observation, NOW)
    for action in decision.actions:
        if isinstance(action, SetWeight) and action.weight > observation.route.weight:
            canary = observation.status.canary
            assert canary is not None
            assert observation.canary.serves(canary.revision) > 0 or observation.status.rollout.stage is Stage.PROMOTING


@given(observations)
@settings(max_examples=250, deadline=None)
def test_a_failing_check_takes_the_traffic_away_first(observation: Observation) -> None:
    decision = decide(observation, NOW)
    began = (
        decision.status.rollout.stage is Stage.ROLLING_BACK
        and observation.status.rollout.stage is not Stage.ROLLING_BACK
    )
    if began and decision.actions:
        kinds = [type(action) for action in decision.actions]
        assert kinds in ([SetWeight], [PointService], [PointService, SetWeight])


@given(observations)
@settings(max_examples=250, deadline=None)
def test_the_weight_is_never_given_to_a_stable_with_nobody_ready_while_the_canary_answers(
    observation: Observation,
) -> None:
    stable, canary = observation.status.stable, observation.status.canary
    if stable is None or canary is None or observation.deleting:
        return
    workload = observation.workloads.get(stable.revision)
    nobody = not sum(observation.stable.ready.values()) and (workload is None or workload.ready == 0)
    if nobody and observation.canary.serves(canary.revision):
        assert SetWeight(0) not in decide(observation, NOW).actions or observation.route.weight == 0


@given(observations)
@settings(max_examples=250, deadline=None)
def test_the_number_of_stable_s_pods_is_never_written_where_an_autoscaler_decides(observation: Observation) -> None:
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
        written = []  # it retires, and the autoscaler has been handed on
    assert set(written) <= {None}


@given(observations)
@settings(max_examples=250, deadline=None)
def test_copies_go_to_the_canary_of_a_release_that_has_a_step_for_them_and_to_nobody_else(
    observation: Observation,
) -> None:
    decision = decide(observation, NOW)
    for action in decision.actions:
        if isinstance(action, Mirror) and action.revision is not None:
            assert decision.status.canary is not None
            assert action.revision == decision.status.canary.revision
            assert decision.status.rollout.stage is Stage.PROGRESSING
            assert any(step.shadow for step in observation.spec.rollout.steps)


@given(observations)
@settings(max_examples=250, deadline=None)
def test_nothing_about_copies_is_in_the_way_of_taking_the_traffic_away(observation: Observation) -> None:
    actions = decide(observation, NOW).actions
    if SetWeight(0) in actions and observation.route.weight > 0:
        before = actions[: actions.index(SetWeight(0))]
        rolling_back = observation.status.rollout.stage is Stage.ROLLING_BACK
        assert not rolling_back or not any(isinstance(action, Mirror) for action in before)
