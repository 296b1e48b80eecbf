"""Which steps a rollout took, from what was observed of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from iris_demo.observations import Observation, Release, ReleaseObserved, RouteObserved


def steps_taken(observations: Iterable[Observation], weights: Sequence[int], since: float) -> list[int]:
    """The weights of the steps in the order in which the canary got them, and 0 each time when it lost all traffic.

    They are the steps' ``weights``, in percent, and not the route's: that is the weight of both arms and changes with
    their ready pods, and with few pods the canary's share stays below its step's. Only what came from ``since`` on, in
    Unix seconds, counts; a step of weight 0 mirrors requests and is left out.
    """
    taken: list[int] = []
    routed, reached, seen = False, ("", 0), Release()
    for observation in observations:
        if isinstance(observation, RouteObserved):
            lost, routed = routed and observation.weight == 0, observation.weight > 0
            if lost:
                reached = ("", 0)
                taken += [0] if observation.at >= since else []
        elif isinstance(observation, ReleaseObserved):
            seen = observation.release
        if observation.at < since or not seen.is_current or seen.canary != seen.spec_version:
            continue
        if routed and seen.step and weights[seen.step - 1] and reached != (seen.canary, seen.step):
            reached = (seen.canary, seen.step)
            taken.append(weights[seen.step - 1])
    return taken
