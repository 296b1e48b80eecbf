"""After a promotion: the version before stays warm, and a failure goes back to it. Whole releases in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.verdict import Verdict
from iris_operator.api import names
from iris_operator.engine.analyze import Analyzer
from iris_operator.rollout.observation import AnalysisResult
from support.operator.api_server import Image
from support.operator.simulation import AUTOSCALED, Simulation, phase, serving

BAD = "registry.example.com/iris:2.0.0"


def promoted(**rollout: Any) -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    settings = {"steps": [{"weight": 50}], "interval": "5s", "scaleDownDelay": "10s", "watch": "5m", **rollout}
    simulation.apply("2.0.0", rollout=settings)
    simulation.run(serving("2.0.0"))
    return simulation


def reasons(simulation: Simulation) -> list[str]:
    return [reason for reason, _ in simulation.server.events]


def judged_as(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> list[str]:
    """Each judgement of a watch has this verdict; gives the memory that each one began with."""
    memories: list[str] = []

    async def judge_watch(_self: Analyzer, release: Any, *_: Any) -> AnalysisResult:
        memories.append(release.status.watch.memory)
        results = (CheckResult("errorRate", verdict, "5xx of 3 %, 0.1 % before"),)
        return AnalysisResult(Judgement(verdict, results, {"judged": len(memories)}), None)

    monkeypatch.setattr(Analyzer, "judge_watch", judge_watch)
    return memories


def test_the_version_before_stays_warm_at_full_number_until_the_watch_ends() -> None:
    simulation = promoted()
    assert simulation.status.watch is not None
    assert simulation.status.watch.previous.version == "1.0.0"
    simulation.run_for(280)
    assert simulation.ready("1.0.0") == 4
    status = simulation.run_for(40)
    assert status.watch is None
    assert simulation.replicas("1.0.0") == 0


def test_errors_that_begin_after_the_promotion_are_judged_by_what_the_version_before_was_like() -> None:
    simulation = promoted()
    simulation.run_for(20)
    assert simulation.status.phase == "Stable"
    simulation.server.images = {BAD: Image(error_share=0.2)}
    status = simulation.run(phase("RolledBack"), seconds=60)
    assert status.rejected is not None
    assert (status.rejected.version, status.rejected.reason) == ("2.0.0", "ErrorRate")
    assert simulation.version_behind_stable_service() == "1.0.0"


def test_a_promoted_version_that_is_like_the_one_before_stays() -> None:
    simulation = promoted()
    simulation.run_for(400)
    assert simulation.version_behind_stable_service() == "2.0.0"
    assert "WentBack" not in reasons(simulation)


def test_the_version_before_follows_the_number_of_pods_that_all_of_the_traffic_needs() -> None:
    simulation = Simulation()
    rollout = {"steps": [{"weight": 50}], "interval": "5s", "watch": "5m"}
    simulation.apply("1.0.0", serving=AUTOSCALED)
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", serving=AUTOSCALED, rollout=rollout)
    simulation.run(serving("2.0.0"))
    simulation.server.autoscaler_wants = 8
    simulation.run_for(20)
    assert (simulation.ready("2.0.0"), simulation.ready("1.0.0")) == (8, 8)


def test_a_version_whose_pods_all_fail_after_its_promotion_goes_back_at_once() -> None:
    simulation = promoted()
    simulation.run_for(60)
    simulation.server.images = {BAD: Image(crash="out of memory")}
    simulation.server.advance(0)
    simulation.step()
    assert simulation.version_behind_stable_service() == "1.0.0"
    status = simulation.run(phase("RolledBack"), seconds=20)
    assert status.stable is not None
    assert status.rejected is not None
    assert (status.stable.version, status.rejected.version, status.rejected.reason) == ("1.0.0", "2.0.0", "Crash")
    assert "version 2.0.0 after its promotion: no pod is ready: " in status.rejected.message
    assert (status.watch, status.canary, simulation.weight) == (None, None, 0)
    outcomes = [(entry.version, entry.outcome) for entry in status.history[:2]]
    assert outcomes == [("2.0.0", "RolledBack"), ("2.0.0", "Promoted")]
    assert "WentBack" in reasons(simulation)
    assert (simulation.ready("1.0.0"), simulation.replicas("2.0.0")) == (4, 0)
    simulation.run_for(60)
    assert simulation.status.phase == "RolledBack"


def test_a_version_that_lost_one_of_its_pods_stays() -> None:
    simulation = promoted()
    simulation.run_for(20)
    stable = simulation.status.stable
    assert stable is not None
    simulation.server._started_at[f"{names.workload_name('iris', stable.revision)}-0"] = simulation.server.now
    simulation.server.advance(0)
    simulation.run_for(20)
    assert (simulation.status.phase, simulation.version_behind_stable_service()) == ("Stable", "2.0.0")


def test_a_failed_judgement_after_the_promotion_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    memories = judged_as(monkeypatch, Verdict.PASS)
    simulation = promoted()
    simulation.run_for(22)
    assert memories[-1] == f'{{"judged":{len(memories) - 1}}}'
    judged_as(monkeypatch, Verdict.FAIL)
    status = simulation.run(phase("RolledBack"), seconds=30)
    assert status.rejected is not None
    assert status.rejected.reason == "ErrorRate"
    assert "after its promotion: 5xx of 3 %, 0.1 % before" in status.rejected.message
    assert simulation.version_behind_stable_service() == "1.0.0"


@pytest.mark.parametrize("verdict", [Verdict.HOLD, Verdict.NO_DATA, Verdict.ERROR])
def test_without_a_failure_nothing_goes_back(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    memories = judged_as(monkeypatch, verdict)
    simulation = promoted()
    simulation.run_for(100)
    assert len(memories) in (19, 20, 21), "one judgement an interval"
    assert (simulation.status.phase, simulation.version_behind_stable_service()) == ("Stable", "2.0.0")


def test_nothing_goes_back_to_a_version_without_ready_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_as(monkeypatch, Verdict.FAIL)
    simulation = promoted(steps=[{"weight": 50}])
    assert simulation.status.watch is not None
    simulation.server.images = {"registry.example.com/iris:1.0.0": Image(ready_after=10_000)}
    simulation.server.advance(0)
    simulation.run_for(60)
    assert (simulation.status.phase, simulation.version_behind_stable_service()) == ("Stable", "2.0.0")


def test_a_new_release_ends_the_watch() -> None:
    simulation = promoted()
    simulation.apply("3.0.0")
    simulation.run(lambda status: status.canary is not None)
    assert simulation.status.watch is None
    simulation.run(serving("3.0.0"))


def test_a_watch_of_0_seconds_is_none() -> None:
    simulation = promoted(watch="0s")
    assert simulation.status.watch is None
    simulation.run_for(30)
    assert simulation.replicas("1.0.0") == 0
    simulation = promoted()
    settings = {"steps": [{"weight": 50}], "interval": "5s", "scaleDownDelay": "10s", "watch": "0s"}
    simulation.apply("2.0.0", rollout=settings)
    simulation.run_for(30)
    assert (simulation.status.watch, simulation.replicas("1.0.0")) == (None, 0)


def test_the_version_before_is_kept_while_it_is_watched_whatever_the_history_limit() -> None:
    simulation = promoted(historyLimit=0)
    simulation.run_for(60)
    assert simulation.ready("1.0.0") == 4
    simulation.run_for(300)
    assert sorted(simulation.end_state()["deployments"]) == ["2.0.0"]


def test_going_back_hands_the_autoscaler_over() -> None:
    simulation = Simulation()
    rollout = {"steps": [{"weight": 50}], "interval": "5s", "watch": "5m"}
    simulation.apply("1.0.0", serving=AUTOSCALED)
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", serving=AUTOSCALED, rollout=rollout)
    simulation.run(serving("2.0.0"))
    simulation.run_for(10)
    simulation.server.images = {BAD: Image(crash="out of memory")}
    simulation.server.advance(0)
    simulation.run(phase("RolledBack"), seconds=30)
    simulation.run_for(3)
    assert (simulation.autoscaled_version(), simulation.ready("1.0.0")) == ("1.0.0", 4)
