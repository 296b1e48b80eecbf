"""Waits until a release is decided, whatever the network does meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

import aiohttp

from iris_demo.kube import RELEASES, ApiError, Kube, Object
from iris_demo.observations import ReleaseSeen, release_of
from iris_demo.timeline import Line, Timeline
from iris_pipeline.outcome import Outcome, State, Wanted, outcome_of

_RETRY_SECONDS = 2.0


class Trail:
    """What the resource went through: its last state, and how long the canary had which share of the traffic."""

    def __init__(self, say: Callable[[Line], None], clock: Callable[[], float] = time.time) -> None:
        self.started = clock()
        self.resource: Object | None = None
        self._say, self._clock, self._timeline = say, clock, Timeline()
        self._weights: list[tuple[float, int]] = []

    def add(self, resource: Object | None) -> None:
        """Takes in a state of the resource."""
        now = self._clock()
        self.resource = resource
        if resource is None:
            return
        release = release_of(resource)
        for line in self._timeline.add(ReleaseSeen(now, release)):
            self._say(line)
        if not self._weights or self._weights[-1][1] != release.weight:
            self._weights.append((now, release.weight))

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self.started

    def weights(self) -> list[tuple[int, float]]:
        """Each share of the traffic in percent above 0, with its seconds."""
        ends = [at for at, _ in self._weights[1:]] + [self._clock()]
        spans = [(weight, end - at) for (at, weight), end in zip(self._weights, ends, strict=True)]
        return [(weight, seconds) for weight, seconds in spans if weight > 0]


async def until_decided(
    kube: Kube, namespace: str, name: str, wanted: Wanted, trail: Trail, *, seconds: float
) -> Outcome:
    """The outcome of the release, at the latest after `seconds` as `Undecided`.

    Raises:
        ApiError: the API server refuses to show the resource.
    """
    deadline = time.monotonic() + seconds
    outcome = Outcome(State.PENDING, "the API server did not answer")

    def decided(resource: Object | None) -> bool:
        nonlocal outcome
        trail.add(resource)
        outcome = outcome_of(resource, wanted)
        return outcome.decided

    while (left := deadline - time.monotonic()) > 0:
        try:
            await kube.until(RELEASES, namespace, name, decided, left)
        except TimeoutError:
            break
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(min(_RETRY_SECONDS, left))
        except ApiError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            await asyncio.sleep(min(_RETRY_SECONDS, left))
        else:
            return outcome
    return Outcome(State.UNDECIDED, f"not decided after {seconds:.0f} s; last seen: {outcome.reason}")
