"""Waits until a release is decided, tolerating network failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

import aiohttp

from iris_demo.kube import ApiError, KubeClient, Object
from iris_demo.observations import ReleaseObserved, release_of
from iris_demo.resources import RELEASES
from iris_demo.timeline import Timeline, TimelineLine
from iris_pipeline.outcome import DesiredModel, Outcome, State, outcome_of

_RETRY_SECONDS = 2.0


class RolloutRecorder:
    """Records a rollout: the resource's last state, and how long the canary had which share of the traffic."""

    def __init__(self, print_line: Callable[[TimelineLine], None], clock: Callable[[], float] = time.time) -> None:
        self.started_at = clock()
        self.resource: Object | None = None
        self._print_line, self._clock, self._timeline = print_line, clock, Timeline()
        self._weights: list[tuple[float, int]] = []

    def record(self, resource: Object | None) -> None:
        """Records a state of the resource."""
        now = self._clock()
        self.resource = resource
        if resource is None:
            return
        release = release_of(resource)
        for line in self._timeline.add(ReleaseObserved(now, release)):
            self._print_line(line)
        if not self._weights or self._weights[-1][1] != release.weight:
            self._weights.append((now, release.weight))

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self.started_at

    def weights(self) -> list[tuple[int, float]]:
        """Each share of the traffic in percent above 0, with its seconds."""
        ends = [at for at, _ in self._weights[1:]] + [self._clock()]
        spans = [(weight, end - at) for (at, weight), end in zip(self._weights, ends, strict=True)]
        return [(weight, seconds) for weight, seconds in spans if weight > 0]


async def wait_until_decided(
    kube: KubeClient, namespace: str, name: str, desired: DesiredModel, recorder: RolloutRecorder, *, seconds: float
) -> Outcome:
    """The outcome of the release; `Undecided` after `seconds`.

    Raises:
        ApiError: the API server denies access to the resource.
    """
    deadline = time.monotonic() + seconds
    outcome = Outcome(State.PENDING, "the API server did not answer")

    def decided(resource: Object | None) -> bool:
        nonlocal outcome
        recorder.record(resource)
        outcome = outcome_of(resource, desired)
        return outcome.decided

    while (remaining := deadline - time.monotonic()) > 0:
        try:
            await kube.wait_for(RELEASES, namespace, name, decided, remaining)
        except TimeoutError:
            break
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(min(_RETRY_SECONDS, remaining))
        except ApiError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            await asyncio.sleep(min(_RETRY_SECONDS, remaining))
        else:
            return outcome
    return Outcome(State.UNDECIDED, f"not decided after {seconds:.0f} s; last seen: {outcome.reason}")
