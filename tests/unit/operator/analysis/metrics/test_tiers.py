"""Different hit rates of the two versions' caches: only answers from the same tier are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Judgement, judge, judge_fleet, update_baseline
from iris_operator.analysis.prepare import AnalysisInput
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import Analysis
from support.operator.observed import revision

# A control group's caches are as old as the canary's, and tiers do not matter.
DEFAULTS = Analysis(control="Stable")
WARM, COLD = 0.9, 0.0
TIERS = ("local", "redis")
# Seconds; of a hundred answers of the model so many take at most so long, and of a hundred from the cache.
BOUNDS = (0.005, 0.025, 0.1, 0.5)
MODEL, CACHE = (0, 60, 99, 100), (98, 99, 100, 100)
# Slow across two bounds: what lies between two of them is left to the means, which caches of different age have not.
SLOW_MODEL, SLOW_CACHE = (0, 10, 20, 100), (40, 50, 100, 100)


def served(
    requests: int,
    cached: float,
    model: Sequence[int] = MODEL,
    cache: Sequence[int] = CACHE,
    tier: str = "local",
) -> RequestCounts:
    """A share `cached` of the requests was answered by a tier of the cache."""
    hits = round(requests * cached)
    of_cache = {bound: hits * percent // 100 for bound, percent in zip(BOUNDS, cache, strict=True)}
    of_model = {bound: (requests - hits) * percent // 100 for bound, percent in zip(BOUNDS, model, strict=True)}
    none = dict.fromkeys((*BOUNDS, math.inf), 0)
    return replace(
        revision(requests),
        at_most={bound: of_cache[bound] + of_model[bound] for bound in BOUNDS},
        cached={name: {**of_cache, math.inf: hits} if name == tier else none for name in TIERS},
    )


STABLE = served(900, WARM)


def judged(canaries: Sequence[RequestCounts], stable: RequestCounts = STABLE, next_weight: int = 50) -> list[Judgement]:
    checkpoint: Mapping[str, Any] = {}
    judgements = []
    for _ in range(5):
        checkpoint = update_baseline(stable, checkpoint, DEFAULTS)
    for canary in canaries:
        judgement = judge(Interval(canary, stable), checkpoint, DEFAULTS, next_weight)
        checkpoint = judgement.checkpoint
        judgements.append(judgement)
    return judgements


def latency(judgement: Judgement) -> CheckResult:
    return next(each for each in judgement.results if each.name == "latency")


def test_a_canary_with_a_cold_cache_passes_and_is_never_failed() -> None:
    judgements = judged([served(100, COLD)] * 40)
    assert Verdict.FAIL not in [judgement.verdict for judgement in judgements]
    assert latency(judgements[-1]).verdict is Verdict.PASS
    assert "as often from the cache" in latency(judgements[-1]).reason


def test_a_canary_whose_cache_warms_up_passes() -> None:
    judgements = judged([served(100, WARM * at / 40) for at in range(40)])
    assert Verdict.FAIL not in [judgement.verdict for judgement in judgements]
    assert latency(judgements[-1]).verdict is Verdict.PASS


def test_a_canary_whose_answers_all_come_from_the_cache_is_compared_with_cached_answers_of_stable() -> None:
    judgements = judged([served(100, 1.0)] * 20, served(900, 1.0))
    assert latency(judgements[-1]).verdict is Verdict.PASS


@pytest.mark.parametrize("cached", [COLD, 0.5, WARM])
def test_a_slower_model_fails_whatever_share_of_answers_is_cached(cached: float) -> None:
    assert latency(judged([served(100, cached, SLOW_MODEL)] * 60)[-1]).verdict is Verdict.FAIL


@pytest.mark.parametrize("cached", [COLD, 0.5])
def test_a_slower_model_never_passes_while_it_answers_many_requests(cached: float) -> None:
    judgements = judged([served(100, cached, SLOW_MODEL)] * 60)
    assert Verdict.PASS not in [latency(judgement).verdict for judgement in judgements]


def test_a_warm_cache_of_the_canary_does_not_let_a_slower_model_pass() -> None:
    judgements = judged([served(100, WARM, SLOW_MODEL)] * 60, served(900, COLD))
    assert Verdict.PASS not in [latency(judgement).verdict for judgement in judgements]
    assert latency(judgements[-1]).verdict is Verdict.FAIL


def test_a_slower_cache_fails() -> None:
    assert latency(judged([served(100, WARM, cache=SLOW_CACHE)] * 20)[-1]).verdict is Verdict.FAIL


def test_answers_from_redis_are_not_compared_with_answers_from_memory() -> None:
    judgements = judged([served(100, 0.5, cache=SLOW_CACHE, tier="redis")] * 40)
    assert latency(judgements[-1]).verdict is not Verdict.FAIL


def test_without_a_common_tier_nothing_is_concluded() -> None:
    judgements = judged([served(100, COLD)] * 20, served(900, 1.0))
    assert latency(judgements[-1]).verdict is Verdict.HOLD
    assert "nothing of the canary could be compared yet" in latency(judgements[-1]).reason


def test_a_cold_cache_of_the_canary_is_not_an_incident_of_stable() -> None:
    judgements = judged([served(100, COLD)] * 5)
    assert not any(judgement.stable_incident for judgement in judgements)


def test_an_incident_of_stable_is_found_despite_its_cache() -> None:
    crawling = served(900, WARM, (0, 0, 0, 100), (0, 0, 0, 100))
    checkpoint = judged([served(100, WARM)] * 3)[-1].checkpoint
    assert judge(Interval(served(100, WARM), crawling), checkpoint, DEFAULTS, 50).stable_incident


def test_an_emptied_cache_of_stable_does_not_hold_a_good_canary() -> None:
    judgements = judged([served(100, 0.5)] * 2, served(900, 0.5))
    for _ in range(4):
        judgements.append(
            judge(Interval(served(100, COLD), served(900, COLD)), judgements[-1].checkpoint, DEFAULTS, 50)
        )
    assert latency(judgements[-1]).verdict is Verdict.PASS


def test_the_first_interval_of_a_new_tier_is_baseline_only() -> None:
    judgements = judged([served(100, COLD)] * 2, served(900, COLD))
    half = Interval(served(100, 0.5), served(900, 0.5))
    first = judge(half, judgements[-1].checkpoint, DEFAULTS, 50)
    second = judge(half, first.checkpoint, DEFAULTS, 50)
    assert [latency(each).requests for each in (judgements[-1], first, second)] == [200, 250, 350]


def test_different_hit_rates_of_stables_pods_are_not_dispersion() -> None:
    alike, apart = (
        replace(STABLE, pods=tuple(served(180, share) for share in shares))
        for shares in ([WARM] * 5, [0.7, 0.8, 1.0, 1.0, 1.0])
    )
    one, other = (judged([served(100, COLD)] * 6, stable)[-1] for stable in (alike, apart))
    assert latency(one).noninferiority_e_value == latency(other).noninferiority_e_value


def test_the_baseline_has_the_tiers_of_the_cache() -> None:
    assert update_baseline(STABLE, {}, DEFAULTS)["tiers"] == ["local", "redis"]


def test_a_checkpoint_without_tiers_is_continued() -> None:
    canary, stable = (replace(served(n, 0.5), cached=None) for n in (100, 900))
    checkpoint = dict(judged([canary] * 5, stable)[-1].checkpoint)
    del checkpoint["tiers"]
    judgement = judge(Interval(served(100, 0.5), served(900, 0.5)), checkpoint, DEFAULTS, 50)
    assert latency(judgement).requests == 600


def test_a_canary_is_judged_by_all_answers_if_only_the_canary_reports_tiers() -> None:
    judgements = judged([served(100, 0.5)] * 20, replace(served(900, 0.5), cached=None))
    assert latency(judgements[-1]).verdict is Verdict.PASS


def test_releases_with_caches_are_judged_together_exactly_as_alone() -> None:
    pods = tuple(served(300, share) for share in (0.8, WARM, 1.0))
    intervals = [
        Interval(served(100, COLD), replace(STABLE, pods=pods)),
        Interval(served(100, 0.5, SLOW_MODEL), replace(STABLE, pods=pods[:2])),
        Interval(served(100, WARM), STABLE),
    ]
    inputs = [
        AnalysisInput(interval, judged([served(100, 0.3)] * 3)[-1].checkpoint, DEFAULTS, 50) for interval in intervals
    ]
    alone = [judge(each.interval, each.checkpoint, each.settings, each.next_weight) for each in inputs]
    for together, one in zip(judge_fleet(inputs), alone, strict=True):
        assert together.results == one.results
        assert together.checkpoint == one.checkpoint


def test_a_service_that_reports_no_tiers_is_judged_by_all_answers() -> None:
    plain, stable = (replace(served(n, 0.5), cached=None) for n in (100, 900))
    judgements = judged([plain] * 20, stable)
    assert latency(judgements[-1]).verdict is Verdict.PASS
    assert "cache" not in latency(judgements[-1]).reason


def test_a_cache_without_hits_changes_no_bit_of_the_results() -> None:
    with_tiers_counts, without_tiers_counts = served(100, COLD), replace(served(100, COLD), cached=None)
    with_tiers = judged([with_tiers_counts] * 10, served(900, COLD))
    without = judged([without_tiers_counts] * 10, replace(served(900, COLD), cached=None))
    assert [each.results for each in with_tiers] == [each.results for each in without]


def test_a_version_that_stops_reporting_tiers_gives_no_data() -> None:
    judgements = judged([served(100, COLD), replace(served(100, COLD), cached=None)])
    assert latency(judgements[-1]).verdict is Verdict.NO_DATA
    assert "durations by tier of the cache of the canary revision" in latency(judgements[-1]).reason


def test_more_cached_answers_than_requests_are_an_error() -> None:
    canary = served(100, 0.5)
    wrong = replace(canary, cached={**(canary.cached or {}), "redis": dict.fromkeys((*BOUNDS, math.inf), 80)})
    (judgements,) = judged([wrong])
    assert judgements.verdict is Verdict.ERROR
    assert "more requests answered by the cache than in all" in judgements.results[0].reason
