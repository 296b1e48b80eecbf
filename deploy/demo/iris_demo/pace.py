"""How many requests a second a machine can take: asked before the traffic begins.

What else is slow beside a busy processor looks the same in every version: on a machine that the traffic fills, a model
that takes a fifth longer hardly shows in what its users get. So the traffic leaves most of the machine idle.
"""

from __future__ import annotations

import statistics
import time
from http import HTTPStatus
from itertools import islice

from iris_demo.load import Load, connect
from iris_demo.rows import varied_flowers

# Never more: the acts are written for this.
HIGHEST = 60.0
# Never fewer: below, evidence takes longer than anybody watches.
LOWEST = 10.0
# Of each second, for the requests one after the other. Their logs, records and labels, the pods that start and the
# cluster itself take as much again, and a machine may become half as fast while the demo runs.
SHARE = 0.3
REQUESTS = 60
# Other flowers than the traffic's, or the cache would know those.
SEED_OFFSET = 2_000_003


class NoPredictionError(Exception):
    """Something else was answered than a prediction, and how long that takes says nothing."""


def suitable(seconds: float) -> float:
    """Whole requests a second for a machine on which an answer takes so many ``seconds``."""
    return min(HIGHEST, max(LOWEST, float(int(SHARE / seconds))))


async def answer_seconds(load: Load) -> float:
    """How long the target of ``load`` takes for an answer while nothing else is asked: the median of some.

    Raises NoPredictionError.
    """
    seconds: list[float] = []
    async with connect(load) as session:
        for flower in islice(varied_flowers(load.seed + SEED_OFFSET), REQUESTS):
            asked = time.monotonic()
            body = {"instances": [flower.measured]}
            async with session.post(load.url, json=body, server_hostname=load.host) as answer:
                await answer.read()
                if answer.status != HTTPStatus.OK:
                    raise NoPredictionError(f"{load.url} answered {answer.status} while its speed was measured")
            seconds.append(time.monotonic() - asked)
    return statistics.median(seconds)
