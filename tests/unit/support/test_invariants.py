"""The watcher of the end-to-end tests is only worth something if it sees each breach."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from iris_demo.observations import CANARY, CANARY_WEIGHT
from support.e2e.invariants import ARM_LABEL, CANARY_WEIGHT_TOTAL, CONTROL, SERVICE_OF_SLICE, Entry, violations

GRACE = 4.0


class History:
    """Builds a history one second a step, like the objects of a release called `iris`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.now = 1000.0
        self.begun, self.stage = 0, "Progressing"
        self.analysis: dict[str, str] = {}

    def add(self, kind: str, name: str, body: dict[str, Any] | None, after: float = 1.0) -> History:
        self.now += after
        self.entries.append(Entry(len(self.entries) + 1, self.now, kind, name, body))
        return self

    def primary(self) -> History:
        return self.add("ingresses", "iris", {"metadata": {}})

    def weight(self, weight: int, after: float = 1.0, total: str = "100") -> History:
        notes = {CANARY: "true", CANARY_WEIGHT: str(weight), CANARY_WEIGHT_TOTAL: total}
        return self.add("ingresses", "iris-canary", {"metadata": {"annotations": notes}}, after)

    def service(self, backend: str, revision: str) -> History:
        return self.add("services", f"iris-{backend}", {"spec": {"selector": {"revision": revision}}})

    def ready(self, backend: str, count: int, after: float = 1.0, control: int = 0) -> History:
        labels = {SERVICE_OF_SLICE: f"iris-{backend}"}
        endpoints: list[dict[str, Any]] = [{"conditions": {"ready": True}}] * count + [{"conditions": {"ready": False}}]
        for index in range(control):
            pod = f"iris-control-{index}"
            self.add("pods", pod, {"metadata": {"labels": {ARM_LABEL: CONTROL}}}, 0)
            endpoints.append({"conditions": {"ready": True}, "targetRef": {"name": pod}})
        return self.add(
            "endpointslices", f"iris-{backend}-x", {"metadata": {"labels": labels}, "endpoints": endpoints}, after
        )

    def verdict(self, verdict: str, after: float = 1.0) -> History:
        self.analysis = {"verdict": verdict, "judgedAt": datetime.fromtimestamp(self.now + after, UTC).isoformat()}
        return self.status(after)

    def step(self, index: int, stage: str = "Progressing") -> History:
        self.begun, self.stage = index, stage
        return self.status()

    def status(self, after: float = 1.0) -> History:
        steps = [{"weight": 20}, {"weight": 60}, {"weight": 100}]
        body = {"canary": {"revision": "b"}, "step": {"index": self.begun}, "rollout": {"stage": self.stage}}
        return self.add(
            "irismodelreleases",
            "iris",
            {"spec": {"rollout": {"steps": steps}}, "status": body | {"analysis": self.analysis}},
            after,
        )

    def gone(self) -> History:
        return self.add("irismodelreleases", "iris", None)

    def found(self) -> list[str]:
        return violations(self.entries, "iris", GRACE)


def rollout() -> History:
    history = History().service("stable", "a").ready("stable", 2).primary()
    return history.service("canary", "b").ready("canary", 1)


def test_a_complete_rollout_has_no_violation() -> None:
    history = rollout().weight(20).verdict("Hold").verdict("Pass").weight(60).verdict("Pass").weight(100)
    history.service("stable", "b").ready("stable", 1).weight(0)
    assert history.found() == []


def test_the_order_of_storage_counts_and_not_that_of_the_watches() -> None:
    history = rollout().weight(20)
    assert violations(list(reversed(history.entries)), "iris", GRACE) == []


def test_a_total_other_than_100_is_a_breach() -> None:
    assert "I1: the weights total 1000" in rollout().weight(20, total="1000").found()
    assert any(breach.startswith("I1") for breach in rollout().weight(120).found())


def test_a_canary_route_without_a_primary_is_a_breach() -> None:
    assert History().weight(0).found() == ["I1: there is a canary route and no primary one"]


def test_weight_written_to_a_canary_without_endpoints_is_a_breach_at_once() -> None:
    (breach,) = rollout().ready("canary", 0).weight(20).found()
    assert breach.startswith("I2: iris-canary was written")


def test_endpoints_may_vanish_for_the_operators_reaction_time() -> None:
    history = rollout().weight(20).ready("canary", 0).weight(0, after=GRACE - 1)
    assert history.found() == []
    (breach,) = rollout().weight(20).ready("canary", 0).weight(0, after=GRACE + 1).found()
    assert "no ready endpoint for 5.0 s" in breach


def test_without_any_ready_pod_the_weight_may_stay() -> None:
    history = rollout().weight(20).ready("stable", 0).ready("canary", 0).verdict("NoData", after=60)
    assert history.found() == []


def test_stable_without_endpoints_is_a_breach_too() -> None:
    (breach,) = rollout().ready("stable", 0).weight(20, after=GRACE + 1).found()
    assert "for 5.0 s" in breach


def test_a_backend_with_traffic_is_not_replaced() -> None:
    (breach,) = rollout().weight(20).service("canary", "c").found()
    assert "the canary Service changed" in breach
    (breach,) = rollout().weight(20).service("stable", "b").found()
    assert "the stable Service changed" in breach


def test_a_step_without_a_pass_is_a_breach() -> None:
    assert rollout().step(1).weight(20).verdict("Hold").step(2).weight(60).found() == [
        "I3: step 2 began without a Pass since step 1 began"
    ]


def test_the_pass_of_an_earlier_step_is_stale() -> None:
    history = rollout().step(1).weight(20).verdict("Pass").step(2).weight(60).verdict("Hold").step(3).weight(100)
    assert history.found() == ["I3: step 3 began without a Pass since step 2 began"]


def test_a_higher_route_weight_in_the_same_step_needs_no_pass() -> None:
    assert rollout().step(1).weight(20).ready("canary", 1, control=1).weight(40).found() == []


def test_the_canary_may_not_get_more_than_its_step() -> None:
    (breach,) = rollout().step(1).weight(40).weight(0).found()
    assert breach == "I4: iris-canary was written so that the canary has 40 % of the requests in a step of 20 %"


def test_a_control_group_that_vanishes_leaves_the_canary_its_requests_for_the_operators_reaction_time_only() -> None:
    beside = rollout().ready("canary", 1, control=1).step(1).weight(40).ready("canary", 1)
    assert deepcopy(beside).weight(20, after=GRACE - 1).found() == []
    assert deepcopy(beside).weight(20, after=GRACE + 1).found() == []
    (breach,) = beside.ready("canary", 1, after=GRACE + 1).weight(20).found()
    assert breach == "I4: for 5.0 s the canary has 40 % of the requests in a step of 20 %"


def test_at_the_last_step_and_while_it_is_promoted_the_canary_may_get_all() -> None:
    history = rollout().step(1).weight(20).verdict("Pass").step(2).weight(60).verdict("Pass").step(3).weight(100)
    assert history.found() == []
    assert rollout().step(1, stage="Promoting").weight(100).found() == []


def test_the_first_share_and_a_fall_need_no_pass() -> None:
    assert rollout().weight(20).weight(0).weight(20).found() == []


def test_the_history_ends_with_the_release() -> None:
    history = rollout().weight(20).gone().ready("canary", 0).ready("stable", 0)
    assert history.add("ingresses", "iris", None).found() == []
