"""True labels that become known later: sent back for a share of the predictions, some seconds after them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin

import aiohttp

from iris_demo.samples import Fate, Label

# A prediction may not be in the database yet, and the database may be away: about a minute, less and less often.
TRIES = 8
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 16.0
# Of another stream than the flowers, so that labels change nothing about what is asked.
SEED_OFFSET = 1_000_003
NOT_YET = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def feedback_url(predict_url: str) -> str:
    """Where true labels go, beside where predictions are asked for."""
    return urljoin(predict_url, "feedback")


@dataclass(frozen=True)
class Prediction:
    """A prediction that was answered: how it is called, who made it, and what the flower is."""

    request_id: str
    version: str
    species: str


@dataclass(frozen=True)
class Later:
    """It may be taken later, and not before so many seconds."""

    after: float = 0.0

    @classmethod
    def said_in(cls, answer: aiohttp.ClientResponse) -> Later:
        """As the answer has it in Retry-After, in whole seconds; a date is not looked at."""
        said = answer.headers.get("Retry-After", "")
        return cls(float(said) if said.isdecimal() else 0.0)


class Labeller:
    """Chooses the predictions whose truth becomes known, and sends it back."""

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
        """Label ``share`` of the predictions, ``delay`` seconds after their answer; each label ends in ``record``."""
        self._session, self._url, self._host = session, url, host
        self._share, self._delay = share, delay
        # Test data, not a secret.
        self._rng = random.Random(seed + SEED_OFFSET)  # noqa: S311
        self._record = record

    def chosen(self) -> bool:
        """Whether the truth about the next prediction becomes known."""
        return self._rng.random() < self._share

    async def tell(self, prediction: Prediction, stop: asyncio.Event) -> None:
        """Send the label when it is due. One that is still to be sent when ``stop`` is set is not sent at all."""
        wait, pause = self._delay, PAUSE_SECONDS
        for _ in range(TRIES):
            if await _stopped_within(stop, wait):
                return
            fate = await self._send(prediction)
            if isinstance(fate, Fate):
                break
            # A service in trouble says when it wants to be asked again, and is not to be asked before.
            wait, pause = max(pause, fate.after), min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            fate = Fate.LOST
        self._record(Label(time.time(), prediction.version, fate))

    async def _send(self, prediction: Prediction) -> Fate | Later:
        """What became of it, if anything did."""
        body = {"request_id": prediction.request_id, "label": prediction.species}
        try:
            async with self._session.post(self._url, json=body, server_hostname=self._host) as answer:
                if answer.status == HTTPStatus.OK:
                    return Fate((await answer.json())["outcome"])
                return Later.said_in(answer) if answer.status in NOT_YET else Fate.LOST
        except (TimeoutError, aiohttp.ClientError, OSError):
            return Later()


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
