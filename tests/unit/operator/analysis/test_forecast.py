from __future__ import annotations

import pytest

from iris_operator.analysis.forecast import expect
from iris_operator.api.spec import Analysis, Checks, ErrorRateCheck, Rollout, Step

PLAN = Rollout(steps=[Step(weight=10), Step(weight=50), Step(weight=100)])


def test_little_traffic_and_strict_margins_are_said_to_mean_hours() -> None:
    strict = Analysis(checks=Checks(error_rate=ErrorRateCheck(max_harm=0.001)))
    forecast = expect(strict, PLAN, 1.0)
    assert forecast.total > 2 * 3600
    assert "h with these margins: errorRate needs the most requests" in forecast.sentence
    assert "maxHarm is 0.1 %" in forecast.sentence


def test_much_traffic_leaves_the_dwell_times() -> None:
    dwelling = Rollout(steps=[Step(weight=10, min_duration="60s"), Step(weight=50, min_duration="60s")])
    assert expect(Analysis(), dwelling, 100.0).seconds == (60.0, 60.0)


def test_the_forecast_is_near_what_the_benchmark_measures_at_a_request_a_second() -> None:
    assert expect(Analysis(), PLAN, 1.0).total / 60 == pytest.approx(27, rel=0.3)


def test_without_traffic_there_is_no_end() -> None:
    assert "no end in sight" in expect(Analysis(), PLAN, 0.0).sentence
