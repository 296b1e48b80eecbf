"""The releases of the scenarios: the demo's, with steps that take seconds and a name of their own."""

from __future__ import annotations

from typing import Any

from iris_demo.scenario import LOUD

INTERVAL_SECONDS = 2.0
# What an operator has, after the first Fail, to take the traffic away: one interval and two seconds.
ROLLBACK_SECONDS = INTERVAL_SECONDS + 2.0
STEPS = (20, 60, 100)

STEPS_OF_SHARES = [{"weight": weight, "minDuration": "3s"} for weight in STEPS[:-1]] + [{"weight": STEPS[-1]}]
ROLLOUT: dict[str, Any] = {
    "steps": STEPS_OF_SHARES,
    "interval": "2s",
    "readyTimeout": "60s",
    "scaleDownDelay": "5s",
    "historyLimit": 2,
}
# Wide enough to be passed with a few dozen requests: how sharp the checks are is tested elsewhere.
ANALYSIS = {"checks": {"errorRate": {"maxHarm": 0.1}, "latency": {"maxSlower": 3}}}


def release(name: str, version: str, image_version: str = "", *, copies: int = 0, **serving: Any) -> dict[str, Any]:
    """A release of ``version``; ``image_version`` is the model in it when that is another one.

    ``copies`` is the percentage of the requests that is copied to the canary in a step before the first share; 0: there
    is no such step. ``serving`` is what differs in the block of that name from one pod with the demo's resources.
    """
    made = renamed(LOUD.manifest("1.0.0"), name)
    spec = made["spec"]
    spec["model"] |= {"version": version, "image": f"localhost/iris-inference:{image_version or version}"}
    spec["serving"] |= {"replicas": 1, **serving}
    spec["rollout"], spec["analysis"] = ROLLOUT, ANALYSIS
    if copies:
        spec["rollout"] = ROLLOUT | {"steps": [{"shadow": copies}, *STEPS_OF_SHARES]}
    return made


def renamed(made: dict[str, Any], name: str) -> dict[str, Any]:
    """A release of another name, with a host of its own."""
    made["metadata"]["name"] = name
    made["spec"]["traffic"]["host"] = f"{name}.example.com"
    return made
