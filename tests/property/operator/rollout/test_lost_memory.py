"""Whatever is removed from the status: what serves is not scaled down, and no weight rises to an unjudged one."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from iris_operator.api import names
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import RevisionRef
from iris_operator.api.stored_status import read_status
from iris_operator.rollout.control_group import ArmPods, canary_share
from iris_operator.rollout.decide import decide
from iris_operator.rollout.decision import ApplyWorkload, DeleteWorkload, SelectRevision, SetWeight
from iris_operator.rollout.observation import Backend, Observation, Route, Workload

NOW = datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC)
AGO = (NOW - timedelta(seconds=40)).isoformat()
STABLE = RevisionRef(revision="a" * 10, version="1.0.0", image="r/i:1")
CANARY = RevisionRef(revision="b" * 10, version="2.0.0", image="r/i:2")
OTHER = RevisionRef(revision="c" * 10, version="3.0.0", image="r/i:3")
CONTROL = names.control_revision(STABLE.revision, CANARY.revision)
SPEC = ReleaseSpec.model_validate(
    {
        "model": {"name": "iris", "version": "2.0.0", "image": "r/i:2"},
        "serving": {"replicas": 4},
        "traffic": {"host": "a.b"},
        "rollout": {"steps": [{"weight": 10}, {"weight": 50}]},
    }
)
# Of a rollout at 10 %: both arms have a pod, so that the route's weight is 20.
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Progressing",
    "weight": 10,
    "step": {"index": 1, "count": 3},
    "stable": STABLE.to_json(),
    "canary": CANARY.to_json(),
    "control": {**STABLE.to_json(), "revision": CONTROL, "pods": 1},
    "analysis": {"verdict": "Hold", "judgedAt": AGO, "judgedThrough": AGO, "memory": "{}"},
    "history": [{**STABLE.to_json(), "outcome": "Promoted", "reason": "x", "finishedAt": AGO}],
    "rollout": {
        "stage": "Progressing",
        "reason": "Holding",
        "startedAt": AGO,
        "stepStartedAt": AGO,
        "trafficSince": AGO,
        "routeWeight": 20,
        "confirmedWeight": 10,
        "earnedPods": 1,
        "holdSince": AGO,
    },
}
STAGES = st.sampled_from(["Initializing", "Idle", "Progressing", "Promoting", "RollingBack", "SomethingNewer"])


def paths(of: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All fields, also those of objects in it."""
    own = [(*at, name) for name in of]
    inner = [path for name, value in of.items() if isinstance(value, dict) for path in paths(value, (*at, name))]
    return own + inner


def without(removed: set[tuple[str, ...]], broken: set[tuple[str, ...]], stage: str) -> dict[str, Any]:
    """The status in a stage with some fields removed, and others of a type that no field has."""
    status = copy.deepcopy(STATUS)
    status["rollout"]["stage"] = stage
    for path in sorted(removed | broken, key=len, reverse=True):
        container = status
        for step in path[:-1]:
            container = container[step]
        container.pop(path[-1])
        if path in broken:
            container[path[-1]] = [["no", "such", "type"]]
    return status


def workload(ref: RevisionRef, role: str, pods: int, *, ready: int | None = None) -> Workload:
    return Workload(ref, role, pods, pods if ready is None else ready)


some_paths = st.sets(st.sampled_from(paths(STATUS)), max_size=6)


@given(some_paths, some_paths, STAGES, st.sampled_from([STABLE, CANARY, OTHER]), st.sampled_from([0, 20, 100]))
@settings(max_examples=400, deadline=None)
def test_nothing_that_serves_is_scaled_down_and_no_weight_rises(
    removed: set[tuple[str, ...]], broken: set[tuple[str, ...]], stage: str, target: RevisionRef, weight: int
) -> None:
    stored = read_status(without(removed, broken, stage))
    observation = Observation(
        spec=SPEC,
        status=stored.status,
        generation=1,
        target=target,
        workloads={
            ref.revision: workload(ref, role, pods)
            for ref, role, pods in ((STABLE, "stable", 4), (CANARY, "canary", 1))
        },
        control_groups={CONTROL: workload(STABLE.model_copy(update={"revision": CONTROL}), "control", 1)},
        stable=Backend(STABLE.revision, ready={STABLE.revision: 4}),
        canary=Backend(CANARY.revision, ready={CANARY.revision: 1, CONTROL: 1}, with_control=True),
        route=Route(exists=True, weight=weight),
        unreadable=stored.blocking,
        ignored=stored.ignored,
    )
    decision = decide(observation, NOW)
    lowered = False
    for action in decision.actions:
        if isinstance(action, SetWeight):
            lowered = lowered or action.weight == 0
            share = canary_share(action.weight, ArmPods(1, 1))
            promotes = decision.status.rollout.stage == "Promoting" and action.weight == 100
            assert action.weight <= weight or share <= 10 or promotes, "a weight rises above what was judged"
        if isinstance(action, SelectRevision) and action.backend == "stable" and action.revision != STABLE.revision:
            assert decision.status.rollout.stage == "Promoting"
        if isinstance(action, ApplyWorkload) and action.ref.revision == STABLE.revision:
            assert action.replicas is None or action.replicas >= 4
        if isinstance(action, ApplyWorkload) and action.ref.revision == CANARY.revision and weight:
            assert action.replicas is None or action.replicas >= 1, "the canary has a share"
        if isinstance(action, DeleteWorkload) and weight and not lowered:
            assert action.revision not in (STABLE.revision, CANARY.revision)
    if stored.blocking:
        assert decision.actions == ()


@given(some_paths, some_paths, STAGES)
@settings(max_examples=300, deadline=None)
def test_any_stored_status_is_read_and_what_cannot_be_read_stays(
    removed: set[tuple[str, ...]], broken: set[tuple[str, ...]], stage: str
) -> None:
    raw = without(removed, broken, stage)
    stored = read_status(raw)
    again = read_status(stored.updated(stored.status))
    assert again.status == stored.status
    assert again.blocking == stored.blocking
