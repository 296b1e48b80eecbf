"""What every router must do, whatever it is made of."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.api.spec import Traffic
from iris_operator.engine.ports import Router, Unverified
from iris_operator.engine.release import Release, parse_release
from unit.operator.api_server import ApiServer
from unit.operator.simulation import manifest

NAMES = sorted(build_routers(cast("KubernetesApi", None)))


class Stage:
    """A router over the API server in memory."""

    def __init__(self, name: str) -> None:
        self.server = ApiServer()
        self.router: Router = build_routers(cast("KubernetesApi", self.server))[name]
        body: dict[str, Any] = manifest("1.0.0")
        body["metadata"] |= {"uid": "uid-1", "generation": 1, "resourceVersion": "1"}
        self.release: Release = parse_release(body)

    def read(self) -> Any:
        return asyncio.run(self.router.read(self.release))

    def set(self, weight: int) -> None:
        asyncio.run(self.router.set_weight(self.release, weight))


@pytest.fixture(params=NAMES)
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


def test_the_registry_and_the_api_name_the_same_routers() -> None:
    assert Traffic.model_json_schema()["properties"]["router"]["const"] == "Ingress" == NAMES[0]
    assert len(NAMES) == 1


def test_before_the_first_weight_there_is_no_route(stage: Stage) -> None:
    route = stage.read()
    assert (route.exists, route.weight) == (False, 0)


@pytest.mark.parametrize("weight", [0, 1, 37, 100])
def test_a_weight_reads_back(stage: Stage, weight: int) -> None:
    stage.set(weight)
    route = stage.read()
    assert (route.exists, route.weight, route.intact) == (True, weight, True)


def test_a_weight_can_be_taken_back(stage: Stage) -> None:
    stage.set(60)
    stage.set(0)
    assert stage.read().weight == 0


def test_setting_the_same_weight_twice_changes_nothing(stage: Stage) -> None:
    stage.set(60)
    before = stage.read()
    stage.set(60)
    assert stage.read() == before


def test_a_write_that_does_not_read_back_is_told(stage: Stage) -> None:
    original = stage.server.apply

    async def meddle(body: Any, **options: Any) -> Any:
        annotations = body["metadata"].get("annotations", {})
        if annotations:
            body = {
                **body,
                "metadata": {**body["metadata"], "annotations": {**annotations, next(reversed(annotations)): "3"}},
            }
        return await original(body, **options)

    stage.server.apply = meddle  # type: ignore[method-assign,assignment] # an admission webhook, so to say
    with pytest.raises(Unverified):
        stage.set(60)
