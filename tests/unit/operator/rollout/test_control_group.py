"""How many pods both arms of a comparison have, and which weight of the route gives the canary its share."""

from __future__ import annotations

import pytest

from iris_operator.rollout.control_group import ArmPods, arm_pods, canary_share, route_weight


@pytest.mark.parametrize(
    ("replicas", "weight", "pods"),
    [
        (1, 5, (1, 1)),
        (1, 100, (1, 1)),
        (3, 10, (1, 1)),
        (10, 25, (3, 3)),
        (4, 50, (2, 2)),
        (4, 60, (3, 2)),
        (10, 80, (8, 2)),
        (10, 99, (10, 1)),
        (4, 100, (4, 1)),
        (12, 100, (12, 3)),
    ],
)
def test_the_arms_are_equal_up_to_half_of_the_traffic_and_the_control_group_is_smaller_beyond(
    replicas: int, weight: int, pods: tuple[int, int]
) -> None:
    assert arm_pods(replicas, weight) == pods


@pytest.mark.parametrize(
    ("share", "pods", "weight"),
    [
        (10, (1, 1), 20),
        (50, (2, 2), 100),
        (10, (2, 1), 15),
        (10, (3, 1), 13),
        (10, (3, 0), 10),
        (100, (4, 1), 100),
        (1, (1000, 0), 1),
        (0, (3, 3), 0),
    ],
)
def test_the_route_has_the_canarys_share_and_as_much_for_each_control_pod(
    share: int, pods: tuple[int, int], weight: int
) -> None:
    assert route_weight(share, ArmPods(*pods)) == weight


def test_each_pod_behind_the_canary_service_has_the_same_load() -> None:
    assert canary_share(20, ArmPods(2, 2)) == 10
    assert canary_share(100, ArmPods(4, 1)) == 80


def test_without_pods_the_share_is_what_the_route_says() -> None:
    assert canary_share(30, ArmPods(0, 0)) == 30
    assert route_weight(30, ArmPods(0, 2)) == 30
