"""Delayed feedback: the true label is sent for a share of the predictions, some seconds after the response."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin

import aiohttp

from iris_demo.samples import Label, LabelOutcome

# A prediction may not be in the database yet, and the database may be down: retry for about a minute, backing off.
MAX_ATTEMPTS = 8
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 16.0
# A random stream of its own, so that labels do not influence which instances are sent.
SEED_OFFSET = 1_000_003
RETRYABLE_STATUSES = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def feedback_url(predict_url: str) -> str:
    """The feedback URL that belongs to a predict URL."""
    return urljoin(predict_url, "feedback")


@dataclass(frozen=True)
class Prediction:
    """A successful prediction: its request id, the version that made it, and the true species."""

    request_id: str
    version: str
    species: str


@dataclass(frozen=True)
class RetryLater:
    """The label may be accepted later, but not before ``after`` seconds."""

    after: float = 0.0

    @classmethod
    def from_response(cls, response: aiohttp.ClientResponse) -> RetryLater:
        """From the Retry-After header in seconds; a date is ignored."""
        retry_after = response.headers.get("Retry-After", "")
        return cls(float(retry_after) if retry_after.isdecimal() else 0.0)


class FeedbackSender:
    """Chooses the predictions whose true label becomes known, and sends it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        host: str,
        *,
        share: float,
        delay: float,
        seed: int,
        record: Callable[[Label], None],
    ) -> None:
        """Label ``share`` of the predictions, ``delay`` seconds after their response; each is passed to ``record``."""
        self._session, self._url, self._host = session, url, host
        self._share, self._delay = share, delay
        # Test data, not a secret.
        self._rng = random.Random(seed + SEED_OFFSET)  # noqa: S311
        self._record = record

    def is_sampled(self) -> bool:
        """Whether the true label of the next prediction becomes known."""
        return self._rng.random() < self._share

    async def send(self, prediction: Prediction, stop: asyncio.Event) -> None:
        """Send the label when it is due; a label that is still pending when ``stop`` is set is dropped."""
        wait, backoff = self._delay, FIRST_BACKOFF_SECONDS
        for _ in range(MAX_ATTEMPTS):
            if await _stopped_within(stop, wait):
                return
            result = await self._post(prediction)
            if isinstance(result, LabelOutcome):
                break
            # An overloaded service says in Retry-After when to try again; no request is sent before that.
            wait, backoff = max(backoff, result.after), min(2 * backoff, LONGEST_BACKOFF_SECONDS)
        else:
            result = LabelOutcome.LOST
        self._record(Label(time.time(), prediction.version, result))

    async def _post(self, prediction: Prediction) -> LabelOutcome | RetryLater:
        """Post the label once."""
        body = {"request_id": prediction.request_id, "label": prediction.species}
        try:
            async with self._session.post(self._url, json=body, server_hostname=self._host) as response:
                if response.status == HTTPStatus.OK:
                    return LabelOutcome((await response.json())["outcome"])
                return (
                    RetryLater.from_response(response) if response.status in RETRYABLE_STATUSES else LabelOutcome.LOST
                )
        except (TimeoutError, aiohttp.ClientError, OSError):
            return RetryLater()


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
