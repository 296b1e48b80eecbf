from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.operator_policy import OperatorPolicy
from bench.analysis.rollouts import Plan, run
from bench.analysis.traffic import Scenario
from iris_operator.analysis.forecast import forecast_rollout
from iris_operator.api.checks import Analysis, Checks, ErrorRateCheck
from iris_operator.api.spec import Rollout, Step

ROLLOUT = Rollout(steps=[Step(weight=10), Step(weight=50), Step(weight=100)])


def test_little_traffic_and_strict_margins_take_hours() -> None:
    strict = Analysis(checks=Checks(error_rate=ErrorRateCheck(max_harm=0.001)))
    forecast = forecast_rollout(strict, ROLLOUT, 1.0)
    assert forecast.total > 2 * 3600
    assert "h with these margins: errorRate needs the most requests" in forecast.sentence
    assert "maxHarm is 0.1 %" in forecast.sentence


def test_with_much_traffic_the_minimum_durations_decide() -> None:
    dwelling = Rollout(steps=[Step(weight=weight, min_duration="60s") for weight in (10, 50, 100)])
    assert forecast_rollout(Analysis(), dwelling, 100.0).seconds == (60.0, 60.0, 60.0)


def test_the_last_step_takes_requests_of_its_own_even_when_it_is_not_among_the_steps() -> None:
    without = Rollout(steps=ROLLOUT.steps[:-1])
    forecast = forecast_rollout(Analysis(), ROLLOUT, 1.0)
    assert forecast_rollout(Analysis(), without, 1.0).seconds == forecast.seconds
    assert len(forecast.seconds) == 3
    # A quarter of all evidence, of which errors take the most requests.
    assert 60 < forecast.seconds[-1] < forecast.seconds[-2]


def test_new_pods_warm_up_before_the_first_step_can_pass() -> None:
    slow = ROLLOUT.model_copy(update={"warm_up": "5m"})
    assert forecast_rollout(Analysis(), slow, 100.0).seconds[0] > 300
    assert forecast_rollout(Analysis(), ROLLOUT, 100.0).seconds[0] < 60


@pytest.mark.parametrize("rate", [1.0, 20.0])
def test_the_forecast_is_within_a_factor_of_two_of_simulated_rollouts(rate: float) -> None:
    steps = Rollout().steps
    plan = Plan(tuple(step.weight / 100 for step in steps), dwell=0.0)
    healthy = Scenario("healthy", rate=rate, stable_pods=2, seconds=12_000.0)
    median = float(np.median(run(OperatorPolicy, healthy, plan, 15, seed=3).promoted_at))
    forecast = forecast_rollout(Analysis(), Rollout(), rate).total
    assert median / 2 < forecast < 2 * median


# Measured with intervals joined as the operator does, with two pods; seconds by requests a second.
@pytest.mark.parametrize(
    ("rate", "seconds"), [(0.05, 63_000), (0.2, 12_900), (1, 2_900), (5, 625), (20, 200), (100, 90)]
)
def test_the_forecast_is_near_the_benchmark(rate: float, seconds: float) -> None:
    assert seconds / 2 < forecast_rollout(Analysis(), Rollout(), rate).total < 2 * seconds


def test_without_traffic_the_forecast_has_no_end() -> None:
    sentence = forecast_rollout(Analysis(), ROLLOUT, 0.0).sentence
    assert sentence == "at 0 requests/s no rollout comes to an end: a step needs requests of its own"
