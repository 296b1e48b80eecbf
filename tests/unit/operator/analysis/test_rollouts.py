"""Whole rollouts by the pure judgement, with a control group, counts drawn from a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Judgement, judge_fleet
from iris_operator.analysis.prepare import AnalysisInput, baseline_input
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import AccuracyCheck, Analysis, Checks, LatencyCheck
from support.operator.drawn import drawn_pod, pooled

DEFAULTS = Analysis()
LABELS = Analysis(checks=Checks(accuracy=AccuracyCheck()))
# Counts of one pod of production, of the canary or of the control group in an interval, by its number.
Pod = Callable[[np.random.Generator, int], RequestCounts]


def healthy(rng: np.random.Generator, _interval: int) -> RequestCounts:
    return drawn_pod(rng, 60, errors=0.001)


@dataclass
class Fleet:
    """Many rollouts of the same kind, judged at once; `pods` are those of production and of each arm."""

    canary: Pod
    stable: Pod = healthy
    rollouts: int = 1
    pods: tuple[int, int] = (3, 1)
    settings: Analysis = DEFAULTS
    seed: int = 11
    history: int = 3
    checkpoints: list[Mapping[str, Any]] = field(default_factory=list)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.checkpoints = [{} for _ in range(self.rollouts)]
        for _ in range(self.history):
            self._judge(
                [
                    baseline_input(self._group(self.stable, 0, self.pods[0]), checkpoint, self.settings)
                    for checkpoint in self.checkpoints
                ]
            )

    def interval(self, number: int) -> Interval:
        production, control = (self._group(self.stable, number, pods) for pods in self.pods)
        return Interval(
            canary=self._group(self.canary, number, self.pods[1]),
            stable=pooled([*production.pods, *control.pods]),
            control=control,
        )

    def judge(
        self, intervals: int, next_weight: int = 100, step: int = 1, *, start: int = 0, **more: Any
    ) -> list[list[Judgement]]:
        """The judgements by interval and rollout."""
        return [
            self._judge(
                [
                    AnalysisInput(self.interval(start + number), checkpoint, self.settings, next_weight, step, **more)
                    for checkpoint in self.checkpoints
                ]
            )
            for number in range(intervals)
        ]

    def _group(self, pod: Pod, number: int, pods: int) -> RequestCounts:
        return pooled([pod(self.rng, number) for _ in range(pods)])

    def _judge(self, inputs: Sequence[AnalysisInput]) -> list[Judgement]:
        judgements = judge_fleet(inputs)
        self.checkpoints = [judgement.checkpoint for judgement in judgements]
        return judgements


def rolled_back(judgements: Sequence[Sequence[Judgement]]) -> int:
    """How many rollouts failed at any time."""
    return sum(any(each.verdict is Verdict.FAIL for each in rollout) for rollout in zip(*judgements, strict=True))


def passed(judgements: Sequence[Sequence[Judgement]]) -> int:
    """How many rollouts passed at any time."""
    return sum(any(each.verdict is Verdict.PASS for each in rollout) for rollout in zip(*judgements, strict=True))


def reason(judgement: Judgement, name: str) -> str:
    return next(each.reason for each in judgement.results if each.name == name)


# One pod in production and in each arm, the default: healthy, but not the same from interval to interval.
def wobbling(rng: np.random.Generator, _interval: int) -> RequestCounts:
    return drawn_pod(rng, 60, median=0.02 * math.exp(rng.normal(0.0, 0.1)), errors=0.001)


def erring(rng: np.random.Generator, _interval: int) -> RequestCounts:
    shape = 1.5**-2
    return drawn_pod(rng, 300, errors=min(1.0, 0.01 * rng.gamma(shape, 1 / shape)))


@pytest.mark.parametrize("pod", [wobbling, erring], ids=["durations", "errors"])
def test_noise_of_a_single_pod_from_interval_to_interval_rolls_back_almost_no_healthy_canary(pod: Pod) -> None:
    fleet = Fleet(pod, pod, rollouts=60, pods=(1, 1), history=20)
    assert rolled_back(fleet.judge(30)) <= 1


def test_a_fault_that_begins_in_the_last_step_is_rolled_back() -> None:
    def fault_from_30(rng: np.random.Generator, interval: int) -> RequestCounts:
        return drawn_pod(rng, 60, errors=0.001 if interval < 30 else 0.05)

    fleet = Fleet(fault_from_30, rollouts=10, pods=(1, 2))
    assert not rolled_back(fleet.judge(30, step=3))
    assert rolled_back(fleet.judge(30, step=4, start=30)) == 10


def test_a_step_without_requests_of_its_own_does_not_pass() -> None:
    fleet = Fleet(healthy, pods=(3, 2))
    assert fleet.judge(40, step=3)[-1][0].verdict is Verdict.PASS
    # One request in an interval, at the step whose margins were met before it began.
    fleet.canary = lambda rng, _interval: drawn_pod(rng, 1)
    few = fleet.judge(3, step=4)
    assert {each.verdict for rollout in few for each in rollout} == {Verdict.HOLD}
    for name in ("errorRate", "latency", "predictionDrift"):
        assert "is needed" in reason(few[-1][0], name)
    fleet.canary = healthy
    assert fleet.judge(20, step=4)[-1][0].verdict is Verdict.PASS


@dataclass(frozen=True)
class Labels:
    """Labels of a pod by interval: (right, wrong)."""

    of: Callable[[int], tuple[int, int]]

    def __call__(self, rng: np.random.Generator, interval: int) -> RequestCounts:
        correct, incorrect = self.of(interval)
        return replace(healthy(rng, interval), correct=correct, incorrect=incorrect)


def test_wrong_labels_that_arrive_long_before_right_ones_fail_no_canary() -> None:
    # Pods of production, which answer for long, have both; new pods first have the wrong ones alone.
    late = Labels(lambda interval: (30, 2) if interval >= 60 else (0, 2 if interval >= 6 else 0))
    usual = Labels(lambda _interval: (30, 2))
    fleet = Fleet(late, late, settings=LABELS, rollouts=5, pods=(3, 2))
    judgements = []
    for number in range(120):
        production = pooled([usual(fleet.rng, number) for _ in range(3)])
        intervals = [fleet.interval(number) for _ in range(fleet.rollouts)]
        mixed = [
            replace(each, stable=pooled([*production.pods, *each.control.pods])) for each in intervals if each.control
        ]
        judgements.append(
            fleet._judge(
                [AnalysisInput(each, at, LABELS, 50, 1) for each, at in zip(mixed, fleet.checkpoints, strict=True)]
            )
        )
    assert not rolled_back(judgements)
    assert passed(judgements) == fleet.rollouts


def test_a_canary_that_is_wrong_five_times_as_often_fails_where_only_errors_are_reported() -> None:
    worse, usual = Labels(lambda _interval: (0, 5)), Labels(lambda _interval: (0, 1))
    judgements = Fleet(worse, usual, settings=LABELS, pods=(3, 2)).judge(40)
    (failed,) = [rollout for rollout in judgements if rollout[0].verdict is Verdict.FAIL][:1]
    assert "only errors are reported: counted per request" in reason(failed[0], "accuracy")
    assert not rolled_back(Fleet(usual, usual, settings=LABELS, pods=(3, 2)).judge(60))


def of_speed(median: float, sigma: float) -> Pod:
    return lambda rng, _interval: drawn_pod(rng, 100, median=median, sigma=sigma, errors=0.001)


def test_a_slightly_slower_canary_whose_durations_cross_a_bound_is_promoted() -> None:
    # 24 ms and 25.2 ms: with a bound at 25 ms, most requests of one are below and of the other above it.
    judgements = Fleet(of_speed(0.0252, 0.1), of_speed(0.024, 0.1), rollouts=20, pods=(4, 2)).judge(40)
    assert not rolled_back(judgements)
    assert passed(judgements) == 20


SENSITIVE = Analysis(checks=Checks(latency=LatencyCheck(min_difference="1ms")))


def test_a_canary_that_takes_half_as_long_again_within_one_bucket_is_rolled_back() -> None:
    judgements = Fleet(
        of_speed(0.018, 0.05), of_speed(0.012, 0.05), rollouts=20, pods=(4, 3), settings=SENSITIVE
    ).judge(40)
    assert rolled_back(judgements) == 20
    assert not passed(judgements)


def test_a_canary_that_takes_half_as_long_again_within_one_bucket_is_not_promoted_by_default() -> None:
    assert not passed(Fleet(of_speed(0.018, 0.05), of_speed(0.012, 0.05), rollouts=20, pods=(4, 3)).judge(40))


def test_a_canary_with_fewer_bounds_is_compared_at_those_that_both_have() -> None:
    def coarse(rng: np.random.Generator, interval: int) -> RequestCounts:
        counts = healthy(rng, interval)
        return replace(counts, at_most={bound: n for bound, n in counts.at_most.items() if bound != 0.05})

    fleet = Fleet(coarse, pods=(3, 2))
    judgements = fleet.judge(60)
    assert 0.05 not in fleet.checkpoints[0]["bounds"]
    assert Verdict.NO_DATA not in [each.verdict for rollout in judgements for each in rollout]
    assert passed(judgements)


@pytest.mark.parametrize(("median", "errors"), [(0.08, 0.001), (0.02, 0.2)], ids=["slower", "errors"])
def test_trouble_of_both_that_has_become_normal_does_not_hold_for_ever(median: float, errors: float) -> None:
    def shifted_pod(rng: np.random.Generator, _interval: int) -> RequestCounts:
        return drawn_pod(rng, 60, median=median, errors=errors)

    fleet = Fleet(healthy, pods=(3, 2), history=40)
    fleet.judge(5)
    fleet.canary = fleet.stable = shifted_pod
    shifted = fleet.judge(20)
    assert all(rollout[0].incident for rollout in shifted)
    assert not passed(shifted)
    assert not rolled_back(shifted)
    accepted = [*fleet.judge(1, accept_shift=True), *fleet.judge(60)]
    assert not any(rollout[0].stable_incident for rollout in accepted)
    assert passed(accepted)
    assert not rolled_back(accepted)


def test_a_stable_version_with_many_errors_does_not_hold_a_canary_that_has_none() -> None:
    def broken(rng: np.random.Generator, _interval: int) -> RequestCounts:
        return drawn_pod(rng, 60, errors=0.1)

    judgements = Fleet(healthy, broken, pods=(3, 2)).judge(60)
    assert judgements[-1][0].stable_incident
    assert passed(judgements)
    assert not rolled_back(judgements)


def test_an_interval_without_requests_of_the_canary_is_not_counted_and_keeps_what_was_learnt() -> None:
    fleet = Fleet(healthy)
    before = fleet.judge(3)[-1][0].checkpoint
    whole = fleet.interval(3)
    idle = replace(whole, canary=baseline_input(whole.stable or RequestCounts(), {}, DEFAULTS).interval.canary)
    (judgement,) = judge_fleet([AnalysisInput(idle, before, DEFAULTS, 100, 1)])
    assert (judgement.verdict, judgement.counted) == (Verdict.HOLD, False)
    assert reason(judgement, "errorRate") == "no request of the canary since what was judged last"
    assert judgement.checkpoint["checks"] == before["checks"]


def test_a_canary_that_refuses_three_of_ten_requests_fails() -> None:
    def refusing(rng: np.random.Generator, _interval: int) -> RequestCounts:
        return drawn_pod(rng, 60, refused=0.3)

    judgements = Fleet(refusing, pods=(3, 1)).judge(5)
    failed = next(rollout[0] for rollout in judgements if rollout[0].verdict is Verdict.FAIL)
    assert reason(failed, "clientErrors").startswith("canary 4xx 3")


def test_the_sentences_name_the_control_group_both_means_and_what_stable_has_had() -> None:
    last = Fleet(healthy, pods=(3, 2)).judge(20)[-1][0]
    assert "the control group's" in reason(last, "latency")
    assert reason(last, "latency").startswith("mean ")
    # 20 intervals with 5 pods of 60 requests.
    assert "of 6,000 requests" in reason(last, "errorRate")


def test_a_version_without_a_bound_of_before_is_told_so_in_english() -> None:
    fleet = Fleet(healthy)
    fleet.judge(2)
    interval = fleet.interval(2)
    canary = interval.canary or RequestCounts()
    lacking = replace(canary, at_most={bound: n for bound, n in canary.at_most.items() if bound != 0.005})
    (judgement,) = judge_fleet([AnalysisInput(replace(interval, canary=lacking), fleet.checkpoints[0], DEFAULTS, 100)])
    assert reason(judgement, "latency") == "Prometheus has no durations by the bound 5 ms of the canary revision"


def test_a_canary_that_no_longer_reports_its_sum_of_durations_is_no_data() -> None:
    fleet = Fleet(healthy)
    fleet.judge(2)
    interval = fleet.interval(2)
    without = replace(interval, canary=replace(interval.canary or RequestCounts(), seconds=None))
    (judgement,) = judge_fleet([AnalysisInput(without, fleet.checkpoints[0], DEFAULTS, 100)])
    assert judgement.verdict is Verdict.NO_DATA
    assert reason(judgement, "latency") == "Prometheus has no sum of durations of the canary revision"


def test_what_the_baseline_taught_is_kept_when_the_control_group_begins() -> None:
    def with_cache(counts: RequestCounts) -> RequestCounts:
        return replace(
            counts, cached={"local": {bound: n // 2 for bound, n in counts.at_most.items()} | {math.inf: 30}}
        )

    def usual(rng: np.random.Generator, interval: int) -> RequestCounts:
        return with_cache(healthy(rng, interval))

    fleet = Fleet(usual, usual, pods=(3, 1))
    # Only a past of production can tell that the first interval of the canary is slower than usual.
    fleet.canary = fleet.stable = lambda rng, _interval: with_cache(drawn_pod(rng, 60, median=0.5))
    assert fleet.judge(1)[0][0].stable_incident


def test_a_canary_alone_is_judged_against_twice_what_stable_was_like() -> None:
    nothing = RequestCounts(by_code={"200": 0}, at_most={}, failures=0, by_class={}, seconds=0.0)

    def alone(errors: float) -> list[Verdict]:
        settings = Analysis(control="Stable")
        fleet = Fleet(healthy, pods=(3, 2), settings=settings)
        checkpoint = fleet.checkpoints[0]
        verdicts = []
        for number in range(60):
            interval, last = replace(fleet.interval(number), control=None), number >= 30
            if last:
                idle = replace(nothing, at_most=dict.fromkeys((interval.canary or nothing).at_most, 0))
                canary = pooled([drawn_pod(fleet.rng, 300, errors=errors)])
                interval = replace(interval, canary=canary, stable=idle)
            (judgement,) = judge_fleet([AnalysisInput(interval, checkpoint, settings, 100, 1 + last, alone=last)])
            checkpoint = judgement.checkpoint
            verdicts.append(judgement.verdict)
        return verdicts

    assert Verdict.FAIL not in alone(0.001)
    assert alone(0.001)[-1] is Verdict.PASS
    assert alone(0.08)[-1] is Verdict.FAIL
