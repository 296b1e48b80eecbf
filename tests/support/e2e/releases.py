"""The releases of the scenarios: the demo's, with steps that take seconds and a name of their own."""

from __future__ import annotations

from typing import Any

from iris_demo.scenario import LOUD

INTERVAL_SECONDS = 2.0
# The time that the operator has, after the first Fail, to remove the traffic: one interval and two seconds.
ROLLBACK_SECONDS = INTERVAL_SECONDS + 2.0
STEPS = (20, 60, 100)

WEIGHT_STEPS = [{"weight": weight, "minDuration": "3s"} for weight in STEPS[:-1]] + [{"weight": STEPS[-1]}]
ROLLOUT: dict[str, Any] = {
    "steps": WEIGHT_STEPS,
    "interval": "2s",
    # Short, like the steps. These models are as fast after a few seconds as later.
    "warmUp": "5s",
    # What is promoted is not judged any further, so that no scenario is about the one before it.
    "watch": "0s",
    "readyTimeout": "60s",
    "scaleDownDelay": "5s",
    "historyLimit": 2,
}


def release(
    name: str, version: str, image_version: str = "", *, shadow_percent: int = 0, control: str = "", **serving: Any
) -> dict[str, Any]:
    """A release of ``version`` with default margins; ``image_version`` is the model in it when that is another one.

    ``shadow_percent`` is the percentage of the requests that is mirrored to the canary in a step before the first
    weight; 0: no such step. ``control`` is what the canary is compared with; empty: the default. ``serving`` overrides
    fields of that block, which has one pod and the demo's resources.
    """
    made = renamed(LOUD.manifest("1.0.0"), name)
    spec = made["spec"]
    spec["model"] |= {"version": version, "image": f"localhost/iris-inference:{image_version or version}"}
    spec["serving"] |= {"replicas": 1, **serving}
    spec["rollout"] = ROLLOUT
    if control:
        spec["analysis"] = {"control": control}
    if shadow_percent:
        spec["rollout"] = ROLLOUT | {"steps": [{"shadow": shadow_percent}, *WEIGHT_STEPS]}
    return made


def renamed(made: dict[str, Any], name: str) -> dict[str, Any]:
    """The release under another name, with a host of its own."""
    made["metadata"]["name"] = name
    made["spec"]["traffic"]["host"] = f"{name}.example.com"
    return made
