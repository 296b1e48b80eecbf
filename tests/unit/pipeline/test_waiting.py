from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import aiohttp
import pytest

from iris_demo.kube import ApiError, KubeClient, Object
from iris_demo.resources import Resource
from iris_demo.timeline import TimelineLine
from iris_pipeline import waiting
from iris_pipeline.outcome import State, desired_model
from iris_pipeline.waiting import RolloutRecorder, wait_until_decided
from support.pipeline.operated import release_in_state

Step = Object | Exception | None


class Server(KubeClient):
    """Shows one state after the other, and then nothing new until the time is up."""

    def __init__(self, *steps: Step) -> None:
        super().__init__(None)
        self.steps = list(steps)

    async def wait_for(
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


def ignore(_: TimelineLine) -> None:
    """These tests do not check the printed lines."""


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_RETRY_SECONDS", 0.0)


async def wait(*steps: Step, desired: Object, seconds: float = 5) -> tuple[State, str, RolloutRecorder]:
    recorder = RolloutRecorder(ignore)
    found = await wait_until_decided(Server(*steps), "iris", "iris", desired_model(desired), recorder, seconds=seconds)
    return found.state, found.reason, recorder


async def test_a_wait_ends_with_the_first_decision() -> None:
    promoted = release_in_state("promoted")
    state, _, recorder = await wait(release_in_state("progressing"), promoted, None, desired=promoted)
    assert state is State.PROMOTED
    assert recorder.resource == promoted


async def test_a_wait_goes_on_when_the_api_server_is_away_for_a_while() -> None:
    promoted = release_in_state("promoted")
    away = (aiohttp.ClientError(), ConnectionResetError(), ApiError(503, "starting"), ApiError(429, "slower"))
    assert (await wait(*away, promoted, desired=promoted))[0] is State.PROMOTED


async def test_a_refusal_of_the_api_server_ends_the_wait() -> None:
    with pytest.raises(ApiError, match="403"):
        await wait(ApiError(403, "not yours"), desired=release_in_state("promoted"))


async def test_a_timeout_reports_the_last_observed_state() -> None:
    state, reason, _ = await wait(release_in_state("paused"), desired=release_in_state("paused"))
    assert state is State.UNDECIDED
    assert reason.startswith("not decided after 5 s; last seen: Paused")


async def test_a_release_that_is_deleted_is_not_waited_for() -> None:
    assert (await wait(None, desired=release_in_state("promoted")))[0] is State.DELETED


def states(weights: Sequence[int]) -> list[Object]:
    made = []
    for weight in weights:
        resource = copy.deepcopy(release_in_state("progressing"))
        resource["status"]["weight"] = weight
        made.append(resource)
    return made


def test_a_trail_has_each_share_with_its_seconds() -> None:
    times = iter([100.0, 101.0, 102.0, 105.0, 106.0, 116.0, 120.0])
    recorder = RolloutRecorder(ignore, lambda: next(times))
    for state in states([0, 20, 20, 60, 0]):
        recorder.record(state)
    assert recorder.weights() == [(20, 4.0), (60, 10.0)]


def test_a_trail_tells_each_change_once() -> None:
    said: list[TimelineLine] = []
    recorder = RolloutRecorder(said.append)
    for resource in (release_in_state("progressing"), release_in_state("progressing"), release_in_state("promoted")):
        recorder.record(resource)
    assert [line.text.partition(" ")[0] for line in said if line.subject == "phase"] == ["Progressing", "Stable"]
