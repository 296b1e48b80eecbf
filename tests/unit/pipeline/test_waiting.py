from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import aiohttp
import pytest

from iris_demo.kube import ApiError, Kube, Object, Resource
from iris_demo.timeline import Line
from iris_pipeline import waiting
from iris_pipeline.outcome import State, wanted_of
from iris_pipeline.waiting import Trail, until_decided
from unit.pipeline.operated import operated

Step = Object | Exception | None


class Server(Kube):
    """Shows one state after the other, and then nothing new until the time is up."""

    def __init__(self, *steps: Step) -> None:
        super().__init__(None)
        self.steps = list(steps)

    async def until(
        self, resource: Resource, namespace: str, name: str, holds: Callable[[Object | None], bool], seconds: float
    ) -> Object | None:
        assert (resource.plural, namespace, name) == ("irismodelreleases", "iris", "iris")
        assert seconds > 0
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, Exception):
                raise step
            if holds(step):
                return step
        raise TimeoutError


def unheard(_: Line) -> None:
    """What a trail says is not what these tests are about."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_RETRY_SECONDS", 0.0)


async def wait(*steps: Step, wanted: Object, seconds: float = 5) -> tuple[State, str, Trail]:
    trail = Trail(unheard)
    found = await until_decided(Server(*steps), "iris", "iris", wanted_of(wanted), trail, seconds=seconds)
    return found.state, found.reason, trail


async def test_a_wait_ends_with_the_first_decision() -> None:
    promoted = operated("promoted")
    state, _, trail = await wait(operated("progressing"), promoted, None, wanted=promoted)
    assert state is State.PROMOTED
    assert trail.resource == promoted


async def test_a_wait_goes_on_when_the_api_server_is_away_for_a_while() -> None:
    promoted = operated("promoted")
    away = (aiohttp.ClientError(), ConnectionResetError(), ApiError(503, "starting"), ApiError(429, "slower"))
    assert (await wait(*away, promoted, wanted=promoted))[0] is State.PROMOTED


async def test_a_refusal_of_the_api_server_ends_the_wait() -> None:
    with pytest.raises(ApiError, match="403"):
        await wait(ApiError(403, "not yours"), wanted=operated("promoted"))


async def test_a_wait_that_is_too_long_says_what_was_seen_last() -> None:
    state, reason, _ = await wait(operated("paused"), wanted=operated("paused"))
    assert state is State.UNDECIDED
    assert reason.startswith("not decided after 5 s; last seen: Paused")


async def test_a_release_that_is_deleted_is_not_waited_for() -> None:
    assert (await wait(None, wanted=operated("promoted")))[0] is State.DELETED


def states(weights: Sequence[int]) -> list[Object]:
    made = []
    for weight in weights:
        resource = copy.deepcopy(operated("progressing"))
        resource["status"]["weight"] = weight
        made.append(resource)
    return made


def test_a_trail_has_each_share_with_its_seconds() -> None:
    times = iter([100.0, 101.0, 102.0, 105.0, 106.0, 116.0, 120.0])
    trail = Trail(unheard, lambda: next(times))
    for state in states([0, 20, 20, 60, 0]):
        trail.add(state)
    assert trail.weights() == [(20, 4.0), (60, 10.0)]


def test_a_trail_tells_each_change_once() -> None:
    said: list[Line] = []
    trail = Trail(said.append)
    for resource in (operated("progressing"), operated("progressing"), operated("promoted")):
        trail.add(resource)
    assert [line.text.partition(" ")[0] for line in said if line.subject == "phase"] == ["Progressing", "Stable"]
