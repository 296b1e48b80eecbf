"""Whatever the numbers of pods: the canary never gets more than its share."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from iris_operator.rollout.control_group import ArmPods, arm_pods, canary_share, route_weight

REPLICAS = st.integers(1, 1000)
WEIGHTS = st.integers(1, 100)


@given(WEIGHTS, st.integers(1, 1000), st.integers(0, 1000))
def test_the_share_of_the_canary_is_never_above_the_steps(weight: int, canary: int, control: int) -> None:
    pods = ArmPods(canary, control)
    assert 1 <= route_weight(weight, pods) <= 100
    assert canary_share(route_weight(weight, pods), pods) <= weight


@given(REPLICAS, WEIGHTS)
def test_the_share_is_reached_within_a_percent_while_the_arms_are_equal(replicas: int, weight: int) -> None:
    pods = arm_pods(replicas, weight)
    share = canary_share(route_weight(weight, pods), pods)
    assert share <= weight
    if weight <= 50:
        assert share > weight - 1


@given(REPLICAS, WEIGHTS)
def test_the_pods_of_the_canary_carry_its_share_and_the_control_group_is_never_larger(
    replicas: int, weight: int
) -> None:
    pods = arm_pods(replicas, weight)
    assert pods.canary == max(1, math.ceil(replicas * weight / 100))
    assert 1 <= pods.control <= pods.canary
    assert pods.canary + pods.control <= max(2, replicas + math.ceil(replicas / 4) + 1)


@given(WEIGHTS, st.integers(1, 50), st.integers(0, 50), st.integers(0, 50))
def test_fewer_control_pods_or_more_canary_pods_never_raise_the_weight(
    weight: int, canary: int, control: int, lost: int
) -> None:
    before = route_weight(weight, ArmPods(canary, control))
    assert route_weight(weight, ArmPods(canary, max(0, control - lost))) <= before
    assert route_weight(weight, ArmPods(canary + lost, control)) <= before
