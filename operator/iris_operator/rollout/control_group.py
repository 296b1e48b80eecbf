"""The control group: how many of stable's pods stand beside the canary's, and which weight the route has for both.

Both arms are behind the canary Service, where each pod gets the same load. So the route's weight is larger than the
share of the requests that gets the new version, and follows from the numbers of pods.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# Percent.
_ALL = 100
# Up to this share, in percent, both arms have the same number of pods and the route has room for both.
_EQUAL_UP_TO = 50
# With all of the requests on the canary Service the control group has one pod for so many of the canary's.
_CANARY_PODS_PER_CONTROL_POD = 4


class ArmPods(NamedTuple):
    """Pods of each arm of the comparison."""

    canary: int
    control: int


def required_pods(replicas: int, weight: int) -> int:
    """The number of pods for `weight` percent of the load of `replicas` pods; at least 1."""
    return max(1, math.ceil(replicas * weight / _ALL))


def arm_pods(replicas: int, weight: int) -> ArmPods:
    """The pods of both arms where the canary gets `weight` percent of the load of `replicas` pods."""
    canary = required_pods(replicas, weight)
    if weight <= _EQUAL_UP_TO:
        return ArmPods(canary, canary)
    if weight >= _ALL:
        return ArmPods(canary, max(1, canary // _CANARY_PODS_PER_CONTROL_POD))
    return ArmPods(canary, max(1, canary * (_ALL - weight) // weight))


def route_weight(share: int, pods: ArmPods) -> int:
    """The route's weight, in percent, with which the canary gets at most `share` percent of the requests.

    `pods` are those that share the load. Rounded down, but for the smallest weight of 1; 0 without a share.
    """
    if share <= 0:
        return 0
    if not pods.canary:
        return min(share, _ALL)
    return max(1, min(_ALL, share * (pods.canary + pods.control) // pods.canary))


def canary_share(weight: int, pods: ArmPods) -> float:
    """The share of the requests, in percent, that gets the new version at this weight of the route."""
    both = pods.canary + pods.control
    return weight * pods.canary / both if both else float(weight)
