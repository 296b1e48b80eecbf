from __future__ import annotations

import math
import random

import pytest

from iris_operator.analysis.evidence import WORSE_GRID, Arm, log_below, log_mean_exp, log_rate_ratio


def test_a_revision_without_requests_says_nothing() -> None:
    assert log_rate_ratio(Arm(0, 0), Arm(3, 10), 10.0, 1.0) == 0.0
    assert log_rate_ratio(Arm(3, 10), Arm(0, 0), 10.0, 1.0) == 0.0


def test_the_rate_ratio_is_the_formula() -> None:
    assert log_rate_ratio(Arm(2, 100), Arm(1, 300), 10.0, 1.0) == pytest.approx(math.log(100 * (1 / 3.25) ** 3))


def test_an_equal_share_of_errors_is_evidence_against_a_difference() -> None:
    assert log_rate_ratio(Arm(10, 100), Arm(90, 900), 10.0, 1.0) < 0


def test_298_clean_requests_rule_out_one_percent() -> None:
    assert log_below(Arm(0, 298), 0.01, 0.0) < math.log(20) < log_below(Arm(0, 299), 0.01, 0.0)


def test_one_error_refutes_the_bet_on_none() -> None:
    assert log_below(Arm(1, 1000), 0.01, 0.0) == -math.inf


def test_means_are_taken_in_log_space() -> None:
    assert log_mean_exp([1000.0, 1000.0]) == pytest.approx(1000.0)
    assert log_mean_exp([0.0, -math.inf]) == pytest.approx(math.log(0.5))
    assert log_mean_exp([]) == -math.inf


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_looking_all_the_time_at_an_equal_canary_seldom_condemns_it(share: float) -> None:
    """Ville's inequality, tried: 400 rollouts of 60 looks, 2 % errors on both sides, alpha 0.05."""
    chance = random.Random(7)  # noqa: S311 - reproducible chance, no secret
    condemned = 0
    for _ in range(400):
        logs = [0.0] * len(WORSE_GRID)
        for _ in range(60):
            canary_total = max(1, round(50 * share))
            canary, stable = (
                Arm(sum(chance.random() < 0.02 for _ in range(total)), total)
                for total in (canary_total, 50 - canary_total)
            )
            logs = [old + log_rate_ratio(canary, stable, w, 1.0) for old, w in zip(logs, WORSE_GRID, strict=True)]
            if log_mean_exp(logs) >= math.log(1 / 0.05):
                condemned += 1
                break
    assert condemned <= 0.05 * 400
