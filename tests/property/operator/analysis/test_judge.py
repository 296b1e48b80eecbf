"""Any observation whatsoever gives a verdict; a restart changes no bit of it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iris_operator.analysis.checkpoint import parse, serialize
from iris_operator.analysis.counts import Bin, Interval, RequestCounts
from iris_operator.analysis.judge import judge, judge_fleet, update_baseline
from iris_operator.analysis.prepare import AnalysisInput
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import AccuracyCheck, Analysis, Checks, CustomCheck

CUSTOM = [CustomCheck(name="cost", query="q", max=1.0)]
SETTINGS = Analysis(checks=Checks(accuracy=AccuracyCheck(), custom=CUSTOM))

# As Prometheus, or a bug between it and the analysis, may give them.
anything = st.integers(-5, 10**18) | st.sampled_from([0, 1, math.nan, math.inf])
bounds = st.sampled_from([0.0, -1.0, 0.01, 0.1, 1.0, math.inf])
bins = st.builds(Bin, bounds, st.floats(0, 1))
wild_counts = st.builds(
    RequestCounts,
    by_code=st.dictionaries(st.sampled_from(["200", "422", "500", "503", "", "x"]), anything),
    at_most=st.dictionaries(bounds, anything),
    timed=anything,
    failures=st.none() | anything,
    by_class=st.none() | st.dictionaries(st.text(max_size=3), anything, max_size=4),
    features=st.none() | st.dictionaries(st.sampled_from(["a", "b"]), st.dictionaries(bins, anything, max_size=3)),
    correct=st.none() | anything,
    incorrect=st.none() | anything,
    cached=st.none()
    | st.dictionaries(st.sampled_from(["local", "redis"]), st.dictionaries(bounds, anything, max_size=3), max_size=2),
    pods=st.lists(
        st.builds(
            RequestCounts, st.dictionaries(st.sampled_from(["200", "500"]), anything), st.just({0.01: 0}), anything
        ),
        max_size=3,
    ).map(tuple),
)
few = st.integers(0, 400)


@st.composite
def fair_counts(draw: st.DrawFn) -> RequestCounts:
    """Counts that a pair of pods can have."""
    total = draw(few)
    errors = draw(st.integers(0, total))
    first = draw(st.integers(0, total))
    reports_tiers = draw(st.booleans())
    hits = draw(st.integers(0, total // 2))

    def cached(quick: int, hits: int) -> dict[str, dict[float, int]] | None:
        return {"local": {0.01: min(quick, hits), 0.1: hits, math.inf: hits}} if reports_tiers else None

    pods = [
        RequestCounts({"200": part}, {0.01: 0, 0.1: part}, part, 0, {"a": part, "b": 0}, cached=cached(0, part // 2))
        for part in (total // 2, total - total // 2)
    ]
    return RequestCounts(
        by_code={"200": total - errors, "500": errors},
        at_most={0.01: min(first, total), 0.1: total},
        timed=total,
        failures=draw(st.integers(0, total)),
        by_class={"a": first, "b": total - first},
        correct=draw(few),
        incorrect=draw(few),
        cached=cached(first, hits),
        pods=tuple(draw(st.sampled_from([[], pods]))),
    )


counts = st.none() | wild_counts | fair_counts()
intervals = st.builds(
    Interval,
    canary=counts,
    stable=counts,
    weight=st.none() | st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    custom=st.dictionaries(st.just("cost"), st.none() | st.floats()),
    paired=st.none() | st.tuples(few, few),
)
weights = st.sampled_from([1, 10, 50, 100])
checkpoints: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.dictionaries(
    st.sampled_from(["v", "checks", "bounds", "next"]), st.integers() | st.text()
)


@settings(max_examples=100, deadline=None)
@given(intervals, checkpoints, weights)
# Versions that have no bound and no class in common.
@example(
    Interval(
        RequestCounts({"200": 1}, {0.01: 1}, 1, 0, {"a": 1}, correct=0, incorrect=0),
        RequestCounts({"200": 1}, {0.02: 1}, 1, 0, {}, correct=0, incorrect=0),
    ),
    {},
    50,
)
def test_any_observation_gives_a_verdict_with_a_reason(
    interval: Interval, checkpoint: dict[str, Any], weight: int
) -> None:
    judgement = judge(interval, checkpoint, SETTINGS, weight)
    assert isinstance(judgement.verdict, Verdict)
    assert judgement.results
    assert all(result.reason for result in judgement.results)
    json.dumps(judgement.checkpoint, allow_nan=False)
    again = judge(interval, judgement.checkpoint, SETTINGS, weight)
    assert isinstance(again.verdict, Verdict)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(fair_counts(), fair_counts(), weights), min_size=1, max_size=8), st.integers(0, 7))
def test_a_restarted_operator_decides_the_same_bit_for_bit(
    intervals_and_weights: list[tuple[RequestCounts, RequestCounts, int]], restart: int
) -> None:
    straight = update_baseline(intervals_and_weights[0][1], {}, SETTINGS)
    restarted = straight
    for number, (canary, stable, weight) in enumerate(intervals_and_weights):
        if number >= restart:
            restarted = parse(serialize(restarted))
        one, other = (
            judge(Interval(canary, stable), checkpoint, SETTINGS, weight) for checkpoint in (straight, restarted)
        )
        assert one.results == other.results
        assert one.verdict is other.verdict
        straight, restarted = one.checkpoint, other.checkpoint
    assert serialize(straight) == serialize(restarted)


@settings(max_examples=30, deadline=None)
@given(fair_counts(), fair_counts(), weights)
def test_without_requests_of_both_revisions_nothing_passes_or_fails(
    canary: RequestCounts, stable: RequestCounts, weight: int
) -> None:
    """I3: without a request of the canary nothing lets it go on."""
    idle = RequestCounts({"200": 0}, {0.01: 0, 0.1: 0}, 0, 0, {"a": 0, "b": 0}, correct=0, incorrect=0)
    assert judge(Interval(idle, stable), {}, SETTINGS, weight).verdict not in (Verdict.PASS, Verdict.FAIL)
    assert judge(Interval(None, stable), {}, SETTINGS, weight).verdict is Verdict.NO_DATA
    assert judge(Interval(canary, None), {}, SETTINGS, weight).verdict is Verdict.NO_DATA


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(intervals, st.sampled_from([50, 100])), min_size=2, max_size=5))
def test_a_fleet_is_judged_as_its_releases_one_by_one(intervals_and_weights: list[tuple[Interval, int]]) -> None:
    first = [AnalysisInput(interval, {}, SETTINGS, weight) for interval, weight in intervals_and_weights]
    second = [
        AnalysisInput(analysis_input.interval, judgement.checkpoint, SETTINGS, 50)
        for analysis_input, judgement in zip(first, judge_fleet(first), strict=True)
    ]
    for analysis_input, together in zip(second, judge_fleet(second), strict=True):
        alone = judge(
            analysis_input.interval, analysis_input.checkpoint, analysis_input.settings, analysis_input.next_weight
        )
        assert together.verdict is alone.verdict
        assert [(each.name, each.verdict) for each in together.results] == [
            (each.name, each.verdict) for each in alone.results
        ]
        for name, row in alone.checkpoint.get("checks", {}).items():
            assert together.checkpoint["checks"][name] == pytest.approx(row, abs=2e-3, rel=1e-6)
