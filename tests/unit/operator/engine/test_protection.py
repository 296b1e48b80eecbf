"""What protects the traffic is done in the reconcile that knows it must be, whatever else cannot be done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest

from iris_operator.api import names
from iris_operator.engine.ports import Conflict, Forbidden, Json, Refused, ServerError, Unavailable
from support.operator.api_server import ApiServer, Image
from support.operator.simulation import Simulation, at_share, phase, serving

CANARY_IMAGE = "registry.example.com/iris:2.0.0"
STEPS = {"steps": [{"weight": 10, "minDuration": "1h"}, {"weight": 100}], "interval": "5s", "readyTimeout": "1m"}
ERRORS: Mapping[str, Callable[[], Exception]] = {
    "500": lambda: ServerError("500 etcdserver: request is too large", 2.0),
    "403": lambda: Forbidden('cannot patch resource "x"'),
    "409": lambda: Conflict("the object has been modified"),
    "422": lambda: Refused("422 spec.x: Invalid value"),
    "timeout": lambda: Unavailable("timed out", 2.0),
}
FAILURES: Mapping[str, Image] = {
    "crash": Image(crash="out of memory"),
    "not ready": Image(ready_after=1e9),
    "failing verdict": Image(error_share=0.5),
}
nothing: Any = lambda *_: None  # noqa: E731 - takes whatever a hook is called with


def error_of(name: str) -> Exception:
    return ERRORS[name]()


@cache
def with_canary(path: str = "/") -> ApiServer:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=STEPS, traffic={"host": "iris.example.com", "path": path})
    simulation.run(at_share(10))
    return simulation.server


def at_ten_percent() -> Simulation:
    simulation = Simulation(with_canary().clone())
    simulation.record_shares()
    return simulation


def break_canary(simulation: Simulation, image: Image) -> None:
    simulation.server.images = {CANARY_IMAGE: image}
    simulation.server.advance(0)


@cache
def reconciles_until_known(failure: str) -> int:
    """How many reconciles it takes without a disturbance, until the canary has no traffic."""
    simulation = at_ten_percent()
    break_canary(simulation, FAILURES[failure])
    for number in range(1, 100):
        simulation.step()
        if simulation.weight == 0:
            return number
    raise AssertionError("never")


def just_before(failure: str) -> Simulation:
    simulation = at_ten_percent()
    break_canary(simulation, FAILURES[failure])
    for _ in range(reconciles_until_known(failure) - 1):
        simulation.step()
    assert simulation.weight > 0
    return simulation


def degraded(simulation: Simulation) -> tuple[str, str, str]:
    found = next(each for each in simulation.status.conditions if each.type == "Degraded")
    return found.status, found.reason, found.message


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "always"])
def test_the_weight_of_a_failed_canary_is_0_after_the_reconcile_that_knows_it(
    failure: str, error: str, *, lasting: bool
) -> None:
    """I5: whichever write fails, once or always, unless it is the route's own."""
    simulation, failed = just_before(failure), 0

    def fail(_number: int, what: str) -> None:
        nonlocal failed
        if "Ingress" not in what and (lasting or not failed):
            failed += 1
            raise error_of(error)

    simulation.server.before_write = fail
    simulation.step()
    assert failed
    assert simulation.weight == 0
    for _ in range(20):
        simulation.step()
        assert simulation.weight == 0
    simulation.server.before_write = nothing
    status = simulation.run(phase("RolledBack"))
    assert (status.rejected.version if status.rejected else None, simulation.weight) == ("2.0.0", 0)
    assert degraded(simulation)[0] == "False"


def test_no_weight_rises_before_its_intent_is_stored() -> None:
    simulation = at_ten_percent()
    before = simulation.weight
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 10}, {"weight": 50}], "interval": "5s"})

    def fail(_number: int, what: str) -> None:
        if "status" in what:
            raise error_of("500")

    simulation.server.before_write = fail
    simulation.run_for(60)
    assert simulation.weight == before


class Refusing:
    """Refuses some objects for ever, as a webhook does."""

    def __init__(self, simulation: Simulation, refuses: Callable[[Json], bool], words: str = "denied") -> None:
        self.refused = 0
        self._refuses = refuses
        self._words = words
        simulation.server.on_apply = self

    def __call__(self, manifest: Json, subresource: str) -> None:
        if not subresource and self._refuses(manifest):
            self.refused += 1
            raise Refused(f"{manifest['kind']} {manifest['metadata']['name']}: {self._words}")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_path_that_the_api_server_refuses_does_not_keep_the_traffic_at_a_failed_canary(failure: str) -> None:
    simulation = at_ten_percent()
    refusing = Refusing(simulation, lambda manifest: manifest["kind"] == "Ingress" and "//" in str(manifest["spec"]))
    simulation.apply("2.0.0", rollout=STEPS, traffic={"host": "iris.example.com", "path": "/a//b"})
    simulation.run_for(10)
    assert refusing.refused
    assert degraded(simulation)[:2] == ("True", "Refused")
    assert "Ingress iris" in degraded(simulation)[2]
    break_canary(simulation, FAILURES[failure])
    for _ in range(reconciles_until_known(failure) + 5):
        simulation.step()
    assert simulation.weight == 0
    simulation.run_for(120)
    assert (simulation.weight, simulation.replicas("2.0.0")) == (0, 0)


def test_going_back_to_stable_works_with_a_path_that_is_refused() -> None:
    simulation = at_ten_percent()
    Refusing(simulation, lambda manifest: manifest["kind"] == "Ingress" and "//" in str(manifest["spec"]))
    simulation.apply("1.0.0", rollout=STEPS, traffic={"host": "iris.example.com", "path": "/a//b"})
    simulation.step()
    assert simulation.weight == 0


def test_a_retired_deployment_whose_annotation_was_edited_does_not_keep_the_service_broken() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    rollout = {"steps": [{"weight": 100}], "interval": "5s", "watch": "0s", "scaleDownDelay": "5s"}
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(serving("2.0.0"))
    for (kind, _, _), item in simulation.server.objects.items():
        if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_VERSION] == "1.0.0":
            item["metadata"]["annotations"][names.ANNOTATION_INPUTS] = "edited"
    simulation.server.advance(10)
    service = simulation.server.objects["Service", "iris", "iris-stable"]
    service["spec"]["selector"][names.LABEL_REVISION] = "other"
    simulation.step()
    assert simulation.version_behind_stable_service() == "2.0.0"
    status, reason, message = degraded(simulation)
    assert (status, reason) == ("True", "UnknownRevision")
    assert "Deployment iris-" in message


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("HorizontalPodAutoscaler", ""),
        ("PodDisruptionBudget", ""),
        ("Deployment", "canary"),
        ("Service", "iris-canary"),
    ],
)
def test_one_object_that_is_refused_stops_no_other(kind: str, name: str) -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    refusing = Refusing(
        simulation,
        lambda manifest: (
            manifest["kind"] == kind and name in (manifest["metadata"]["name"], label(manifest, names.LABEL_ROLE), "")
        ),
    )
    serving_block = {
        "replicas": 4,
        "autoscaling": {"minReplicas": 2, "maxReplicas": 10},
        "resources": {"requests": {"cpu": "100m"}},
    }
    simulation.apply("2.0.0", rollout=STEPS, serving=serving_block)
    pod = stable_deployment(simulation)["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = "registry.example.com/edited:1"
    simulation.run_for(10)
    assert refusing.refused
    pod = stable_deployment(simulation)["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example.com/iris:1.0.0"
    assert degraded(simulation)[:2] == ("True", "Refused")
    assert kind in degraded(simulation)[2]
    simulation.server.on_apply = nothing
    simulation.run(at_share(10))
    assert degraded(simulation)[0] == "False"


def label(manifest: Json, name: str) -> str:
    return str(manifest["metadata"].get("labels", {}).get(name))


def stable_deployment(simulation: Simulation) -> dict[str, Any]:
    return next(
        item
        for (kind, _, _), item in simulation.server.objects.items()
        if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_ROLE] == "stable"
    )


def test_pods_that_the_api_server_will_never_accept_end_the_release_after_its_timeout() -> None:
    """T12: server-side apply refuses a name that is twice in `env`."""
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    words = '.spec.template.spec.containers[name="inference"].env: duplicate entries for key [name="A"]'
    Refusing(
        simulation,
        lambda manifest: manifest["kind"] == "Deployment" and label(manifest, names.LABEL_VERSION) == "2.0.0",
        words,
    )
    simulation.apply("2.0.0", rollout=STEPS)
    simulation.run_for(10)
    status, reason, message = degraded(simulation)
    assert (status, reason) == ("True", "Refused")
    assert words in message
    ended = simulation.run(lambda status: status.rejected is not None, seconds=120)
    assert ended.rejected is not None
    assert (ended.rejected.reason, ended.phase, simulation.weight) == ("ReadyTimeout", "RolledBack", 0)


@pytest.mark.parametrize("bound", ["min", "max"])
@pytest.mark.parametrize("measure", [math.inf, -math.inf, math.nan])
def test_an_infinite_measure_is_judged_and_never_stops_the_status(bound: str, measure: float) -> None:
    """T5."""
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.traffic.custom = measure
    custom = [{"name": "m", "query": "x/0", bound: 0.5, "breaches": 1}]
    simulation.apply("2.0.0", rollout=STEPS, analysis={"checks": {"custom": custom}})
    breaches = measure == (math.inf if bound == "max" else -math.inf)
    if breaches:
        status = simulation.run(phase("RolledBack"), seconds=120)
        assert status.rejected is not None
        assert f"{measure:g}" in status.rejected.message
        return
    simulation.run(at_share(10))
    status = simulation.run_for(30)
    assert status.analysis is not None
    check = next(each for each in status.analysis.checks if each.name == "m")
    assert check.verdict == ("NoData" if math.isnan(measure) else "Pass")
    assert check.canary is None
    assert math.isnan(measure) or f"{measure:g}" in check.reason
    simulation.server.images = {CANARY_IMAGE: Image(error_share=0.5)}
    simulation.run(phase("RolledBack"), seconds=120)


def test_a_status_that_is_refused_is_stored_without_its_analysis_and_says_so() -> None:
    simulation = at_ten_percent()

    def too_large(manifest: Json, subresource: str) -> None:
        if subresource and "analysis" in manifest["status"]:
            raise Refused("422 status.analysis: Too long")

    simulation.server.on_apply = too_large
    break_canary(simulation, FAILURES["crash"])
    simulation.step()
    assert simulation.weight == 0
    assert simulation.status.rollout.stage == "RollingBack"
    status, reason, message = degraded(simulation)
    assert (status, reason) == ("True", "Refused")
    assert "status.analysis: Too long" in message


def test_a_server_error_at_the_status_costs_no_evidence_unless_it_repeats() -> None:
    simulation = at_ten_percent()
    evidence = simulation.run_for(20).analysis
    assert evidence is not None
    failed = 0

    def fail_once(_manifest: Json, subresource: str) -> None:
        nonlocal failed
        if subresource and not failed:
            failed += 1
            raise ServerError("500 etcdserver: leader changed", 2.0)

    simulation.server.on_apply = fail_once
    simulation.run_for(15)
    assert failed
    analysis = simulation.status.analysis
    assert analysis is not None
    assert analysis.judged_through is not None
    assert evidence.judged_through is not None
    assert analysis.judged_through > evidence.judged_through
    requests = {check.name: check.requests for check in evidence.checks}
    assert all(check.requests >= requests[check.name] for check in analysis.checks)


def test_retries_wait_longer_each_time_and_no_longer_than_the_limit() -> None:
    simulation = at_ten_percent()

    def away(*_: object) -> None:
        raise Unavailable("connection refused", 0.0)

    simulation.server.get = away  # type: ignore[method-assign,assignment] # an API server that is away
    waits = [simulation.step().requeue_after for _ in range(8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize("duration", ["999999h", "99999999999999h", "9" * 400 + "h", "0s", "0ms"])
def test_a_duration_beyond_reason_raises_nothing(duration: str) -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    fields = ("interval", "warmUp", "watch", "readyTimeout", "holdTimeout", "scaleDownDelay")
    rollout = {"steps": [{"weight": 10, "minDuration": duration}], **dict.fromkeys(fields, duration)}
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run_for(60)
    assert "InternalError" not in str(simulation.status.conditions)
