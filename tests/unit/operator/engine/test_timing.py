from __future__ import annotations

import pytest

from iris_operator.rollout.timing import judgement_interval


@pytest.mark.parametrize(
    ("interval", "between"), [(1, 1), (5, 5), (5.5, 2.75), (7, 3.5), (10, 5), (12, 4), (30, 5), (61, 61 / 13)]
)
def test_a_canary_with_a_share_is_judged_every_five_seconds_or_so_and_at_every_tick(
    interval: float, between: float
) -> None:
    assert judgement_interval(interval) == between
