"""The watcher of the end-to-end tests is only worth something if it sees each breach."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from e2e.invariants import CANARY_WEIGHT_TOTAL, SERVICE_OF_SLICE, Entry, violations
from iris_demo.observations import CANARY, CANARY_WEIGHT

GRACE = 4.0


class History:
    """Builds a history one second a step, like the objects of a release called `iris`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.now = 1000.0

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

    def ready(self, backend: str, count: int, after: float = 1.0) -> History:
        labels = {SERVICE_OF_SLICE: f"iris-{backend}"}
        endpoints = [{"conditions": {"ready": True}}] * count + [{"conditions": {"ready": False}}]
        return self.add(
            "endpointslices", f"iris-{backend}-x", {"metadata": {"labels": labels}, "endpoints": endpoints}, after
        )

    def verdict(self, verdict: str, after: float = 1.0) -> History:
        judged = datetime.fromtimestamp(self.now + after, UTC).isoformat()
        return self.add(
            "irismodelreleases", "iris", {"status": {"analysis": {"verdict": verdict, "judgedAt": judged}}}, after
        )

    def gone(self) -> History:
        return self.add("irismodelreleases", "iris", None)

    def found(self) -> list[str]:
        return violations(self.entries, "iris", GRACE)


def rollout() -> History:
    history = History().service("stable", "a").ready("stable", 2).primary()
    return history.service("canary", "b").ready("canary", 1)


def test_a_whole_rollout_breaches_nothing() -> None:
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


def test_endpoints_may_vanish_for_as_long_as_the_operator_needs_to_answer() -> None:
    history = rollout().weight(20).ready("canary", 0).weight(0, after=GRACE - 1)
    assert history.found() == []
    (breach,) = rollout().weight(20).ready("canary", 0).weight(0, after=GRACE + 1).found()
    assert "no ready endpoint for 5.0 s" in breach


def test_when_nobody_is_ready_anywhere_the_weight_may_stay() -> None:
    history = rollout().weight(20).ready("stable", 0).ready("canary", 0).verdict("NoData", after=60)
    assert history.found() == []


def test_stable_without_endpoints_is_a_breach_too() -> None:
    (breach,) = rollout().ready("stable", 0).weight(20, after=GRACE + 1).found()
    assert "for 5.0 s" in breach


def test_a_backend_is_not_swapped_under_its_traffic() -> None:
    (breach,) = rollout().weight(20).service("canary", "c").found()
    assert "the canary Service changed" in breach
    (breach,) = rollout().weight(20).service("stable", "b").found()
    assert "the stable Service changed" in breach


def test_a_rise_without_a_pass_is_a_breach() -> None:
    assert rollout().weight(20).verdict("Hold").weight(60).found() == [
        "I3: the weight rose from 20 to 60 without a Pass since it became 20"
    ]


def test_the_pass_of_an_earlier_step_is_stale() -> None:
    history = rollout().weight(20).verdict("Pass").weight(60, after=5).verdict("Hold", after=5).weight(100)
    assert history.found() == ["I3: the weight rose from 60 to 100 without a Pass since it became 60"]


def test_the_first_share_and_a_fall_need_no_pass() -> None:
    assert rollout().weight(20).weight(0).weight(20).found() == []


def test_the_history_ends_with_the_release() -> None:
    history = rollout().weight(20).gone().ready("canary", 0).ready("stable", 0)
    assert history.add("ingresses", "iris", None).found() == []
