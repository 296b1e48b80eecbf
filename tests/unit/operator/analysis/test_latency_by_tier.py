"""A warm cache of stable and a cold one of the canary: of both, what came from the same place is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Case, Judgement, judge, judge_fleet, learn
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.spec import Analysis
from unit.operator.analysis.observed import revision

DEFAULTS = Analysis()
WARM, COLD = 0.9, 0.0
TIERS = ("local", "redis")
# Seconds; of a hundred answers of the model so many take at most so long, and of a hundred from the cache.
BOUNDS = (0.005, 0.025, 0.1, 0.5)
MODEL, CACHE, SLOW_MODEL, SLOW_CACHE = (0, 60, 99, 100), (98, 99, 100, 100), (0, 20, 80, 100), (40, 99, 100, 100)


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
    memory: Mapping[str, Any] = {}
    said = []
    for _ in range(5):
        memory = learn(stable, memory, DEFAULTS)
    for canary in canaries:
        judgement = judge(Interval(canary, stable), memory, DEFAULTS, next_weight)
        memory = judgement.memory
        said.append(judgement)
    return said


def latency(judgement: Judgement) -> CheckResult:
    return next(each for each in judgement.results if each.name == "latency")


def test_a_canary_with_a_cold_cache_passes_and_is_never_failed() -> None:
    said = judged([served(100, COLD)] * 40)
    assert Verdict.FAIL not in [judgement.verdict for judgement in said]
    assert latency(said[-1]).verdict is Verdict.PASS
    assert "as often from the cache" in latency(said[-1]).reason


def test_a_cache_that_grows_warm_is_no_news_either() -> None:
    said = judged([served(100, WARM * at / 40) for at in range(40)])
    assert Verdict.FAIL not in [judgement.verdict for judgement in said]
    assert latency(said[-1]).verdict is Verdict.PASS


def test_a_canary_that_is_known_by_its_cache_only_is_compared_with_that_of_stable() -> None:
    said = judged([served(100, 1.0)] * 20, served(900, 1.0))
    assert latency(said[-1]).verdict is Verdict.PASS


@pytest.mark.parametrize("cached", [COLD, 0.5, WARM])
def test_a_model_that_is_slower_is_found_behind_any_cache(cached: float) -> None:
    assert latency(judged([served(100, cached, SLOW_MODEL)] * 60)[-1]).verdict is Verdict.FAIL


@pytest.mark.parametrize("cached", [COLD, 0.5])
def test_a_model_that_is_slower_is_not_let_on_while_it_answers_much(cached: float) -> None:
    said = judged([served(100, cached, SLOW_MODEL)] * 60)
    assert Verdict.PASS not in [latency(judgement).verdict for judgement in said]


def test_a_warm_cache_does_not_let_a_slower_model_on() -> None:
    said = judged([served(100, WARM, SLOW_MODEL)] * 60, served(900, COLD))
    assert Verdict.PASS not in [latency(judgement).verdict for judgement in said]
    assert latency(said[-1]).verdict is Verdict.FAIL


def test_a_cache_that_is_slower_is_found_as_well() -> None:
    assert latency(judged([served(100, 0.5, cache=SLOW_CACHE)] * 20)[-1]).verdict is Verdict.FAIL


def test_answers_of_redis_are_not_compared_with_those_from_memory() -> None:
    said = judged([served(100, 0.5, cache=SLOW_CACHE, tier="redis")] * 40)
    assert latency(said[-1]).verdict is not Verdict.FAIL


def test_without_anything_alike_nothing_is_concluded() -> None:
    said = judged([served(100, COLD)] * 20, served(900, 1.0))
    assert latency(said[-1]).verdict is Verdict.HOLD
    assert "no requests yet" in latency(said[-1]).reason


def test_a_cold_cache_is_no_incident_of_stable() -> None:
    said = judged([served(100, COLD)] * 5)
    assert not any(judgement.trouble for judgement in said)


def test_an_incident_of_stable_is_seen_behind_its_cache() -> None:
    crawling = served(900, WARM, (0, 0, 0, 100), (0, 0, 0, 100))
    memory = judged([served(100, WARM)] * 3)[-1].memory
    assert judge(Interval(served(100, WARM), crawling), memory, DEFAULTS, 50).trouble


def test_a_cache_of_stable_that_was_emptied_does_not_keep_a_good_canary_waiting() -> None:
    said = judged([served(100, 0.5)] * 2, served(900, 0.5))
    for _ in range(4):
        said.append(judge(Interval(served(100, COLD), served(900, COLD)), said[-1].memory, DEFAULTS, 50))
    assert latency(said[-1]).verdict is Verdict.PASS


def test_a_tier_that_is_new_teaches_first() -> None:
    said = judged([served(100, COLD)] * 2, served(900, COLD))
    half = Interval(served(100, 0.5), served(900, 0.5))
    first = judge(half, said[-1].memory, DEFAULTS, 50)
    second = judge(half, first.memory, DEFAULTS, 50)
    assert [latency(each).requests for each in (said[-1], first, second)] == [100, 150, 250]


def test_pods_of_stable_that_differ_in_what_their_cache_knows_are_no_noise() -> None:
    alike, apart = (
        replace(STABLE, pods=tuple(served(180, share) for share in shares))
        for shares in ([WARM] * 5, [0.7, 0.8, 1.0, 1.0, 1.0])
    )
    one, other = (judged([served(100, COLD)] * 6, stable)[-1] for stable in (alike, apart))
    assert latency(one).good == latency(other).good


def test_stable_alone_teaches_what_its_cache_does() -> None:
    assert learn(STABLE, {}, DEFAULTS)["tiers"] == ["local", "redis"]


def test_evidence_from_before_tiers_were_told_goes_on() -> None:
    canary, stable = (replace(served(n, 0.5), cached=None) for n in (100, 900))
    memory = dict(judged([canary] * 5, stable)[-1].memory)
    del memory["tiers"]
    judgement = judge(Interval(served(100, 0.5), served(900, 0.5)), memory, DEFAULTS, 50)
    assert latency(judgement).requests == 500


def test_a_canary_that_tells_beside_a_stable_version_that_does_not_is_judged_by_all_of_its_answers() -> None:
    said = judged([served(100, 0.5)] * 20, replace(served(900, 0.5), cached=None))
    assert latency(said[-1]).verdict is Verdict.PASS


def test_releases_are_judged_together_as_one_by_one() -> None:
    pods = tuple(served(300, share) for share in (0.8, WARM, 1.0))
    looks = [
        Interval(served(100, COLD), replace(STABLE, pods=pods)),
        Interval(served(100, 0.5, SLOW_MODEL), replace(STABLE, pods=pods[:2])),
        Interval(served(100, WARM), STABLE),
    ]
    cases = [Case(look, judged([served(100, 0.3)] * 3)[-1].memory, DEFAULTS, 50) for look in looks]
    alone = [judge(case.interval, case.memory, case.settings, case.next_weight) for case in cases]
    for together, one in zip(judge_fleet(cases), alone, strict=True):
        assert together.results == one.results
        assert together.memory == one.memory


def test_a_service_that_does_not_tell_is_judged_by_all_of_its_answers() -> None:
    plain, stable = (replace(served(n, 0.5), cached=None) for n in (100, 900))
    said = judged([plain] * 20, stable)
    assert latency(said[-1]).verdict is Verdict.PASS
    assert "cache" not in latency(said[-1]).reason


def test_a_cache_that_answers_nothing_changes_no_bit() -> None:
    told, untold = served(100, COLD), replace(served(100, COLD), cached=None)
    with_tiers = judged([told] * 10, served(900, COLD))
    without = judged([untold] * 10, replace(served(900, COLD), cached=None))
    assert [each.results for each in with_tiers] == [each.results for each in without]


def test_a_version_that_tells_no_more_is_not_guessed_about() -> None:
    said = judged([served(100, COLD), replace(served(100, COLD), cached=None)])
    assert latency(said[-1]).verdict is Verdict.NO_DATA
    assert "durations by tier of the cache of the canary revision" in latency(said[-1]).reason


def test_more_answers_from_the_cache_than_in_all_are_an_error() -> None:
    canary = served(100, 0.5)
    wrong = replace(canary, cached={**(canary.cached or {}), "redis": dict.fromkeys((*BOUNDS, math.inf), 80)})
    (said,) = judged([wrong])
    assert said.verdict is Verdict.ERROR
    assert "more requests answered by the cache than in all" in said.results[0].reason
