"""A release at every stage of its life, as the API server returns it: written by the operator in a simulation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from iris_operator.api import names
from iris_operator.api.crd import custom_resource_definition
from iris_operator.engine.ports import Forbidden, Unverified
from support.operator.api_server import Image
from support.operator.simulation import LOOP, Simulation, at_share, phase, serving

IN_PROGRESS, FAILED, CURRENT, TERMINATING = "InProgress", "Failed", "Current", "Terminating"

_STEPS = [{"weight": 10, "minDuration": "10s"}, {"weight": 100}]
_FAST = {"steps": _STEPS, "interval": "5s"}
_IMAGES = {
    "v1_0_0": Image(),
    "v2_0_0": Image(),
    "v3_0_0": Image(error_share=0.5),
    "v4_0_0": Image(slow_share=0.9),
    "v5_0_0": Image(crash="artifact is truncated"),
    "v6_0_0": Image(ready_after=10_000.0),
}


@dataclass(frozen=True)
class At:
    """The release at one stage, and what it is by the rules of kstatus."""

    stage: str
    expected: str
    release: Mapping[str, Any]
    verdict: str = ""
    """What the table of kubectl get has in the column VERDICT."""
    promoted: bool = False


@cache
def all_stages() -> tuple[At, ...]:
    """Each stage once."""
    return (*_first_deployment(), *_canary(), *_promotion(), *_failures(), *_trouble(), *_deletion())


def as_stored(simulation: Simulation) -> dict[str, Any]:
    """The release with the default of the CRD for a status that is not there, as every client of a cluster sees it."""
    stored = simulation.server.objects[names.KIND, "iris", "iris"]
    release: dict[str, Any] = json.loads(json.dumps(stored, default=str))
    (version,) = custom_resource_definition()["spec"]["versions"]
    default = version["schema"]["openAPIV3Schema"]["properties"]["status"].get("default")
    if default is not None:
        release.setdefault("status", dict(default))
    return release


def _at(stage: str, expected: str, simulation: Simulation, verdict: str = "", *, promoted: bool = False) -> At:
    return At(stage, expected, as_stored(simulation), verdict, promoted)


def _applied(version: str, **changes: Any) -> Simulation:
    simulation = Simulation(**_IMAGES)
    simulation.apply(version, **changes)
    return simulation


def _deployed() -> Simulation:
    simulation = _applied("1.0.0", rollout=_FAST)
    simulation.run(serving("1.0.0"))
    return simulation


def _released(version: str, **changes: Any) -> Simulation:
    simulation = _deployed()
    simulation.apply(version, **{"rollout": _FAST, **changes})
    return simulation


def _first_deployment() -> Iterator[At]:
    simulation = _applied("1.0.0")
    yield _at("applied, no operator yet", IN_PROGRESS, simulation)
    simulation.run_for(1)
    yield _at("first pods are starting", IN_PROGRESS, simulation)
    simulation.run(serving("1.0.0"))
    yield _at("first version serves", CURRENT, simulation, promoted=True)
    simulation = _applied("5.0.0", rollout={**_FAST, "readyTimeout": "1m"})
    simulation.run(phase("Degraded"))
    yield _at("first version crashes", IN_PROGRESS, simulation, "Crashing")
    simulation.run(lambda status: status.rollout.reason == "ReadyTimeout")
    yield _at("first version never got ready", FAILED, simulation, "ReadyTimeout")


def _canary() -> Iterator[At]:
    simulation = _released("2.0.0", paused=True)
    yield _at("changed, not seen by the operator yet", IN_PROGRESS, simulation, promoted=True)
    simulation.run(phase("Paused"))
    yield _at("paused before the start", IN_PROGRESS, simulation)
    simulation.apply("2.0.0", rollout=_FAST, paused=False)
    simulation.run(phase("Progressing"))
    yield _at("canary is starting", IN_PROGRESS, simulation)
    status = simulation.run(at_share(10))
    yield _at("canary at 10 %", IN_PROGRESS, simulation, _verdict(status.analysis))
    simulation.apply("2.0.0", rollout=_FAST, paused=True)
    status = simulation.run(phase("Paused"))
    yield _at("paused at 10 %", IN_PROGRESS, simulation, _verdict(status.analysis))
    steps = [_STEPS[0], {"weight": 100, "approval": True}]
    simulation = _released("2.0.0", rollout={**_FAST, "steps": steps})
    status = simulation.run(phase("Paused"))
    assert status.rollout.reason == "AwaitingApproval"
    yield _at("awaiting approval", IN_PROGRESS, simulation, "Pass")
    simulation = _released("2.0.0")
    simulation.run(at_share(10))
    simulation.traffic.error = "no answer from Prometheus"
    simulation.run(lambda status: status.analysis is not None and status.analysis.verdict in ("Error", "NoData"))
    yield _at("metrics are away at 10 %", IN_PROGRESS, simulation, _verdict(simulation.status.analysis))
    simulation.apply("1.0.0", rollout=_FAST)
    simulation.run(phase("RollingBack"))
    yield _at("canary is withdrawn for the version before", IN_PROGRESS, simulation)
    simulation.run(serving("1.0.0"))
    yield _at("version before was applied again", CURRENT, simulation, promoted=True)


def _promotion() -> Iterator[At]:
    simulation = _released("2.0.0")
    status = simulation.run(phase("Promoting"))
    yield _at("promoting", IN_PROGRESS, simulation, _verdict(status.analysis))
    status = simulation.run(serving("2.0.0"))
    assert status.watch is not None
    passed = "Pass" if _verdict(status.analysis) == "Pass" else ""
    yield _at("promoted and watched", CURRENT, simulation, passed, promoted=True)
    simulation.server.images = {**simulation.server.images, "registry.example.com/iris:2.0.0": Image(crash="no memory")}
    simulation.run(phase("RollingBack"))
    yield _at("went back after the promotion", IN_PROGRESS, simulation, "Crash")
    simulation.run(phase("RolledBack"))
    yield _at("rolled back after the promotion", FAILED, simulation, "Crash")
    simulation = _released("2.0.0", rollout={**_FAST, "watch": "5s"})
    simulation.run(lambda status: serving("2.0.0")(status) and status.watch is None)
    yield _at("promoted and watched to the end", CURRENT, simulation, passed, promoted=True)


def _failures() -> Iterator[At]:
    for version, cause in (("3.0.0", "ErrorRate"), ("4.0.0", "Latency"), ("5.0.0", "Crash")):
        simulation = _released(version)
        simulation.run(phase("RollingBack"))
        yield _at(f"rolling back: {cause}", IN_PROGRESS, simulation, cause)
        simulation.run(phase("RolledBack"))
        yield _at(f"rolled back: {cause}", FAILED, simulation, cause)
    simulation = _released("5.0.0")
    simulation.run(phase("RolledBack"))
    simulation.apply("2.0.0", rollout=_FAST, paused=True)
    yield _at("another version after a rollback, not seen yet", IN_PROGRESS, simulation, "Crash")
    simulation.step()
    yield _at("another version after a rollback, paused", IN_PROGRESS, simulation)
    simulation = _released("6.0.0", rollout={**_FAST, "readyTimeout": "20s"})
    simulation.run(phase("RolledBack"))
    yield _at("rolled back: never ready", FAILED, simulation, "ReadyTimeout")
    simulation.apply("1.0.0", rollout=_FAST)
    simulation.run(serving("1.0.0"))
    yield _at("stable's version after a rollback", CURRENT, simulation, promoted=True)
    simulation = _released("3.0.0", rollout={**_FAST, "onFailure": "Pause"})
    status = simulation.run(phase("Paused"))
    assert status.rejected is not None
    yield _at("failed, its pods are kept", FAILED, simulation, "ErrorRate")
    simulation = _released("2.0.0", rollout={**_FAST, "holdTimeout": "20s"})
    simulation.run(at_share(10))
    simulation.traffic.error = "no answer from Prometheus"
    simulation.run(lambda status: status.rejected is not None)
    yield _at("no verdict in time", FAILED, simulation, "HoldTimeout")


def _trouble() -> Iterator[At]:
    simulation = _deployed()
    simulation.apply("2.0.0", traffic={"host": 3})
    simulation.step()
    yield _at("spec cannot be read", FAILED, simulation, "InvalidSpec")
    for error, expected, verdict in (
        (Forbidden('cannot patch resource "ingresses"'), FAILED, "MissingRights"),
        (Unverified("weight 0 reads back as 10"), IN_PROGRESS, None),
    ):
        simulation = _released("2.0.0")
        simulation.run(at_share(10))

        def refuse(_number: int, what: str, error: Exception = error) -> None:
            if what.startswith("apply Ingress"):
                raise error

        simulation.server.before_write = refuse
        status = simulation.run(phase("Degraded"))
        yield _at(f"degraded: {type(error).__name__}", expected, simulation, verdict or status.verdict_text)
    simulation.run_for(400)
    yield _at("degraded for minutes", FAILED, simulation, "Unverified")
    simulation = _deployed()
    simulation.server.images = {"registry.example.com/iris:1.0.0": Image(ready_after=10_000.0)}
    simulation.run(phase("Degraded"))
    yield _at("stable has no ready pods", IN_PROGRESS, simulation)
    simulation.server.images = _IMAGES_BY_NAME
    simulation.run(phase("Stable"))
    yield _at("stable has ready pods again", CURRENT, simulation, promoted=True)
    del simulation.server.objects["Ingress", "iris", "iris"]
    simulation.step()
    yield _at("route was deleted by hand", IN_PROGRESS, simulation)
    simulation.run_for(5)
    yield _at("route is repaired", CURRENT, simulation, promoted=True)


_IMAGES_BY_NAME = {
    f"registry.example.com/iris:{name.removeprefix('v').replace('_', '.')}": image for name, image in _IMAGES.items()
}


def _deletion() -> Iterator[At]:
    simulation = _released("2.0.0")
    simulation.run(at_share(10))
    metadata = simulation.server.objects[names.KIND, "iris", "iris"]["metadata"]
    metadata["deletionTimestamp"] = "2026-01-01T00:10:00Z"
    LOOP.run_until_complete(simulation.reconciler.reconcile("iris", "iris"))
    yield _at("deleted at 10 %", TERMINATING, simulation, _verdict(simulation.status.analysis))


def _verdict(analysis: Any) -> str:
    return analysis.verdict if analysis else ""
