"""Releases in virtual time, and how their requests are counted and judged."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from iris_operator.api.status import CheckStatus, ReleaseStatus
from support.operator.api_server import Image
from support.operator.observed import spread
from support.operator.simulation import Simulation, at_weight, phase, serving

INTERVAL = timedelta(seconds=5)
SCRAPE = timedelta(seconds=1)
HOUR = {"steps": [{"weight": 10, "minDuration": "1h"}], "interval": "5s"}


def deployed(**images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    return simulation


def judged(status: ReleaseStatus) -> bool:
    return status.analysis is not None and any(check.requests for check in status.analysis.checks)


def check(simulation: Simulation, name: str) -> CheckStatus:
    analysis = simulation.status.analysis
    assert analysis is not None
    return next(each for each in analysis.checks if each.name == name)


def reasons(simulation: Simulation) -> list[str]:
    return [reason for reason, _ in simulation.server.events]


def test_the_baseline_is_measured_before_the_canary_gets_a_request() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    stable = simulation.status.stable
    assert stable is not None
    baseline_queries = [query for query in simulation.traffic.queries if list(query.expected_pods) == [stable.revision]]
    assert baseline_queries
    assert baseline_queries[0].until - baseline_queries[0].since >= timedelta(seconds=60)
    analysis = simulation.status.analysis
    assert analysis is not None
    assert (analysis.verdict, analysis.checks) == ("Hold", [])
    assert json.loads(analysis.memory)["classes"] == ["setosa", "versicolor", "virginica", "others"]


def test_every_moment_is_counted_once_across_restarts_and_outages() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout=HOUR)
    simulation.run(judged)
    simulation.start_operator()
    simulation.run_for(20)
    simulation.traffic.error = "Prometheus cannot answer"
    simulation.run_for(20)
    simulation.traffic.error = ""
    simulation.start_operator()
    simulation.run_for(20)
    queries = simulation.traffic.queries
    assert len(queries) > 6
    assert all(before.until == after.since for before, after in pairwise(queries))
    seconds = simulation.traffic._seconds_of_canary(queries[0].since, queries[-1].until)
    assert check(simulation, "errorRate").requests == pytest.approx(seconds * simulation.traffic.rate, abs=len(queries))


def test_an_interval_without_data_of_a_revision_is_judged_with_the_next() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout=HOUR)
    simulation.run(judged)
    canary = simulation.status.canary
    assert canary is not None
    simulation.traffic.missing_revision = canary.revision
    before = simulation.status.analysis
    status = simulation.run(lambda status: bool(status.analysis and status.analysis.verdict == "NoData"))
    assert before is not None
    assert status.analysis is not None
    assert (status.analysis.judged_through, status.analysis.memory) == (before.judged_through, before.memory)
    assert "no requests of the canary revision" in status.analysis.checks[0].reason
    simulation.traffic.missing_revision = ""
    simulation.run_for(6)
    assert simulation.traffic.queries[-1].since == before.judged_through


def test_an_interval_ends_a_second_before_a_tick_that_all_releases_share() -> None:
    simulation = deployed()
    simulation.server.advance(1.7)
    simulation.apply("2.0.0", rollout=HOUR)
    simulation.run(judged)
    for query in simulation.traffic.queries:
        tick = query.until + SCRAPE
        assert tick.timestamp() % INTERVAL.total_seconds() == 0
        assert query.next_until == query.until + INTERVAL


def test_requests_of_the_previous_step_do_not_pass_the_next_one() -> None:
    simulation = Simulation()
    simulation.traffic.rate = 5000.0
    # A single pod each, so that no step waits for pods.
    quick = {"serving": {"replicas": 1}, "rollout": {"steps": [{"weight": 10}, {"weight": 50}], "interval": "1s"}}
    simulation.apply("1.0.0", **quick)
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", **quick)
    begun: dict[int, datetime] = {}

    def promoting(status: ReleaseStatus) -> bool:
        if status.rollout.step_started_at:
            begun[status.step.index] = status.rollout.step_started_at
        return status.step.index == 3

    simulation.run(promoting)
    # Only the second step's own requests let the third begin, and an interval that began before it has others, too.
    assert any(query.since >= begun[2] for query in simulation.traffic.queries)


def test_a_restarted_operator_continues_with_the_stored_evidence() -> None:
    one, other = deployed(), deployed()
    for simulation in (one, other):
        simulation.traffic.rate = 20.0
        simulation.apply("2.0.0", rollout=HOUR)
        simulation.run(judged)
    for _ in range(6):
        one.run_for(5)
        other.start_operator()
        other.run_for(5)
    assert one.status.analysis == other.status.analysis


def test_after_a_long_outage_of_the_metrics_only_the_last_minutes_are_counted() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout={**HOUR, "holdTimeout": "10h"})
    simulation.run(judged)
    simulation.traffic.error = "Prometheus cannot answer"
    simulation.run_for(1200)
    simulation.traffic.error = ""
    simulation.run_for(6)
    last = simulation.traffic.queries[-1]
    assert last.until - last.since == timedelta(minutes=10)


def custom(**fields: Any) -> dict[str, Any]:
    query = {"name": "cost", "query": 'cost{revision="$canary",release="$release"}', "max": 5, **fields}
    return {"checks": {"custom": [query]}}


def test_a_custom_query_names_the_canary_and_rolls_it_back() -> None:
    simulation = deployed()
    simulation.traffic.custom = 7.0
    simulation.apply("2.0.0", analysis=custom())
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason == "Custom"
    assert "cost: 7 is outside [-inf, 5], 3 of 3 times in a row" in status.rejected.message
    query = simulation.traffic.queries[-1].queries["cost"]
    assert query == f'cost{{revision="{status.rejected.revision}",release="iris"}}'


@pytest.mark.parametrize("rule", ["Ignore", "Hold"])
def test_a_custom_query_that_fails_holds_whatever_its_rule_for_missing_data(rule: str) -> None:
    simulation = deployed()
    simulation.traffic.custom = "Prometheus cannot answer: parse error"
    simulation.apply("2.0.0", analysis=custom(noData=rule))
    simulation.run(at_weight(10))
    simulation.run_for(60)
    assert simulation.share == 10
    assert (check(simulation, "cost").verdict, check(simulation, "errorRate").verdict) == ("Error", "Pass")
    assert "parse error" in simulation.status.rollout.message


def test_a_failing_canary_is_rolled_back_also_while_a_custom_query_fails() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    simulation.traffic.custom = "Prometheus cannot answer"
    simulation.apply("3.0.0", analysis=custom())
    assert simulation.run(phase("RolledBack")).rejected


def test_feature_drift_is_reported_in_the_status_and_does_not_hold_the_release() -> None:
    simulation = deployed(v2_0_0=Image(features={"petal_length": spread(0, 50)}))
    simulation.apply("2.0.0")
    reasons: list[str] = []

    def promoted(status: ReleaseStatus) -> bool:
        checks = status.analysis.checks if status.analysis else []
        reasons.extend(each.reason for each in checks if each.name == "featureDrift")
        return status.phase == "Stable" and status.stable is not None and status.stable.version == "2.0.0"

    simulation.run(promoted)
    assert "unlike the training data: petal_length has 100 % of 50 values above 5, 0 % in training" in reasons[0]
    assert len(set(reasons)) > 1, "the counts are updated"


def test_missing_feature_statistics_neither_hold_the_release_nor_appear_in_its_message() -> None:
    simulation = deployed()
    simulation.traffic.custom = "Prometheus cannot answer"
    simulation.apply("2.0.0", rollout=HOUR, analysis=custom())
    simulation.run(judged)
    simulation.run_for(40)
    assert (check(simulation, "featureDrift").verdict, check(simulation, "errorRate").verdict) == ("NoData", "Pass")
    assert "cost Error" in simulation.status.rollout.message
    assert "featureDrift" not in simulation.status.rollout.message


def test_the_estimated_time_left_shrinks_to_nothing() -> None:
    simulation = deployed()
    simulation.traffic.rate = 10.0
    simulation.apply("2.0.0")
    left: list[str] = []

    def last_step(status: ReleaseStatus) -> bool:
        if status.analysis and status.analysis.estimated_time_left:
            left.append(status.analysis.estimated_time_left)
        return status.step.index == 3

    simulation.run(last_step, seconds=1200)
    assert left[0].endswith("s")
    assert "m" in left[0]
    assert "m" not in left[-1]


def test_margins_that_take_hours_with_this_traffic_are_warned_of_before_the_first_request() -> None:
    simulation = deployed()
    simulation.traffic.rate = 0.1
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))
    assert reasons(simulation)[-2:] == ["SlowRollout", "WeightShifted"]
    (slow,) = (message for reason, message in simulation.server.events if reason == "SlowRollout")
    assert "at 0.1 requests/s a healthy rollout takes about " in slow
    assert "longer than rollout.holdTimeout (2h)" in slow


def test_an_incident_of_both_versions_does_not_reject_the_canary_and_stable_gets_the_traffic_until_it_recovers() -> (
    None
):
    simulation = deployed()
    simulation.apply("2.0.0", rollout=HOUR)
    simulation.run(judged)
    broken = {f"registry.example.com/iris:{version}": Image(error_share=0.3) for version in ("1.0.0", "2.0.0")}
    simulation.server.images = broken
    status = simulation.run(lambda status: status.rollout.reason == "SharedIncident")
    assert (status.phase, simulation.share) == ("Progressing", 10)
    assert "both versions are in trouble at once" in dict(simulation.server.events)["SharedIncident"]
    simulation.run_for(60)
    assert simulation.status.canary is not None
    assert (simulation.status.phase, simulation.weight) == ("Progressing", 0)
    assert simulation.status.rejected is None
    simulation.server.images = {}
    simulation.run(at_weight(10), seconds=60)
    assert "Recovered" in reasons(simulation)
    assert "RollingBack" not in reasons(simulation)


def test_a_short_incident_only_holds_the_step() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout=HOUR)
    simulation.run(judged)
    broken = {f"registry.example.com/iris:{version}": Image(error_share=0.3) for version in ("1.0.0", "2.0.0")}
    simulation.server.images = broken
    simulation.run(lambda status: status.rollout.incident_since is not None)
    simulation.run_for(INTERVAL.total_seconds())
    simulation.server.images = {}
    status = simulation.run(lambda status: status.rollout.incident_since is None)
    simulation.run_for(30)
    assert (status.phase, simulation.server.shares) == ("Progressing", [10])


def test_a_stable_that_does_not_recover_ends_the_release_at_weight_0() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout={**HOUR, "holdTimeout": "120s"})
    simulation.run(judged)
    broken = {f"registry.example.com/iris:{version}": Image(error_share=0.3) for version in ("1.0.0", "2.0.0")}
    simulation.server.images = broken
    status = simulation.run(phase("Paused"), seconds=240)
    assert status.rejected is not None
    assert status.rejected.reason == "HoldTimeout"
    assert "stable has not recovered" in status.rejected.message


def test_an_edited_checkpoint_is_replaced_by_an_empty_one() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout=HOUR)
    simulation.run(judged)
    stored = next(item for key, item in simulation.server.objects.items() if key[0] == "IrisModelRelease")
    stored["status"]["analysis"]["memory"] = "{broken"
    simulation.run_for(10)
    analysis = simulation.status.analysis
    assert analysis is not None
    assert json.loads(analysis.memory)["v"] == 3
    assert simulation.status.phase == "Progressing"
