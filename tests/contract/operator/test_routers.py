"""What every router must do, whatever objects it uses."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.api.spec import Traffic
from iris_operator.engine.ports import Refused, Router, Unverified
from iris_operator.engine.release import Release, parse_release
from support.operator.api_server import ApiServer
from support.operator.simulation import manifest

NAMES = sorted(build_routers(cast("KubernetesApi", None)))


class RouterUnderTest:
    """A router over the API server in memory."""

    def __init__(self, name: str) -> None:
        self.server = ApiServer()
        self.router: Router = build_routers(cast("KubernetesApi", self.server))[name]
        body: dict[str, Any] = manifest("1.0.0")
        body["spec"]["traffic"]["router"] = name
        body["metadata"] |= {"uid": "uid-1", "generation": 1, "resourceVersion": "1"}
        self.release: Release = parse_release(body)

    def read(self) -> Any:
        return asyncio.run(self.router.read(self.release))

    def set(self, weight: int) -> None:
        asyncio.run(self.router.set_weight(self.release, weight))


@pytest.fixture(params=NAMES)
def router(request: pytest.FixtureRequest) -> RouterUnderTest:
    return RouterUnderTest(request.param)


def test_the_registry_and_the_api_name_the_same_routers() -> None:
    router = Traffic.model_json_schema()["properties"]["router"]
    assert sorted(router.get("enum", [router.get("const")])) == NAMES
    assert "Ingress" in NAMES


def test_before_the_first_weight_there_is_no_route(router: RouterUnderTest) -> None:
    route = router.read()
    assert (route.exists, route.weight) == (False, 0)


@pytest.mark.parametrize("weight", [0, 1, 37, 100])
def test_a_weight_reads_back(router: RouterUnderTest, weight: int) -> None:
    router.set(weight)
    route = router.read()
    assert (route.exists, route.weight, route.intact) == (True, weight, True)


def test_a_weight_can_be_reset_to_0(router: RouterUnderTest) -> None:
    router.set(60)
    router.set(0)
    assert router.read().weight == 0


def test_setting_the_same_weight_twice_changes_nothing(router: RouterUnderTest) -> None:
    router.set(60)
    before = router.read()
    router.set(60)
    assert router.read() == before


def test_a_write_that_does_not_read_back_is_reported(router: RouterUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    router.set(60)

    async def keep(body: Any, **_: Any) -> Any:
        return body

    # As where an admission webhook restores every object.
    monkeypatch.setattr(router.server, "apply", keep)
    with pytest.raises(Unverified):
        router.set(20)


def test_a_weight_goes_down_though_nothing_else_of_the_route_can_be_written(
    router: RouterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.set(60)
    body: dict[str, Any] = manifest("1.0.0")
    body["spec"]["traffic"] |= {"router": router.release.spec.traffic.router, "path": "/refused"}
    body["metadata"] |= {"uid": "uid-1", "generation": 2, "resourceVersion": "1"}
    router.release = parse_release(body)

    def refuse(item: Any, _subresource: str) -> None:
        if "/refused" in str(item):
            raise Refused("spec.rules[0].http.paths[0].path: Invalid value")

    monkeypatch.setattr(router.server, "on_apply", refuse)
    for weight in (20, 0):
        with pytest.raises(Refused):
            router.set(weight)
        assert router.read().weight == weight
