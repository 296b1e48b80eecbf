"""The release objects of the benchmark: the demo's, with default margins and steps of their own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.aa.plan import Case
from iris_demo.scenario import LOUD

PLAIN_VERSION: Final = "2.0.0"
PLAIN_IMAGE: Final = "localhost/iris-inference:2.0.0"
FAULTY_IMAGE: Final = "localhost/iris-inference:2.0.0-faults"
# What makes an identical version another revision; nothing reads it.
NUMBER_VARIABLE: Final = "BENCH_ROLLOUT"
VERSION_VARIABLE: Final = "FAULT_VERSION"


def version_of(number: int) -> str:
    """The version of the rollout of that number, 0 for the first deployment."""
    return f"{PLAIN_VERSION}-aa.{number}"


def manifest(name: str, case: Case, number: int, *, stable: bool = False) -> dict[str, Any]:
    """The release ``name`` at the version of a rollout; with ``stable`` what the case's rollout begins from."""
    made = LOUD.manifest(PLAIN_VERSION)
    made["metadata"]["name"] = name
    spec = made["spec"]
    spec["model"] |= {
        "version": version_of(number),
        "image": FAULTY_IMAGE if case.needs_faulty_image else PLAIN_IMAGE,
    }
    spec["serving"] |= {"replicas": case.replicas}
    spec["serving"]["env"] = [*spec["serving"]["env"], *_variables(case, number, stable=stable)]
    spec["traffic"]["host"] = host_of(name)
    # No margin, no warm-up and no switch of its own: the defaults are what is measured.
    spec.pop("analysis", None)
    spec["rollout"] = {
        "steps": [{"weight": weight} for weight in case.steps],
        "interval": "10s",
        # The next rollout begins at once; a rollback to a version of two rollouts ago would be about something else.
        "watch": "0s",
        "readyTimeout": "120s",
        "scaleDownDelay": "5s",
        "historyLimit": 1,
    }
    return made


def host_of(name: str) -> str:
    """The host name of a release's requests."""
    return f"{name}.example.com"


def _variables(case: Case, number: int, *, stable: bool) -> list[Mapping[str, str]]:
    variables = {NUMBER_VARIABLE: str(number)}
    if case.needs_faulty_image:
        # Else both versions would answer under the name of the model that they share.
        variables |= {VERSION_VARIABLE: version_of(number)}
        variables |= dict(case.stable_fault if stable else case.canary_fault)
    return [{"name": name, "value": value} for name, value in variables.items()]
