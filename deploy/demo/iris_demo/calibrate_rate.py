"""Chooses a request rate that suits the machine, measured before the traffic begins.

On a saturated machine all versions are equally slow: a model that takes a fifth longer hardly shows in what users get.
So the traffic leaves most of the machine idle.
"""

from __future__ import annotations

import statistics
import time
from http import HTTPStatus
from itertools import islice

from iris_demo.dataset import sample_instances
from iris_demo.load import LoadConfig, connect

# The scenarios are designed for this rate.
HIGHEST_RATE = 60.0
# Below this, it takes too long until there is enough evidence.
LOWEST_RATE = 10.0
# The share of each second that sequential requests may take. Logs, records, labels, starting pods and the cluster
# itself take as much again, and a machine may become half as fast while the demo runs.
BUSY_SHARE = 0.3
REQUESTS = 60
# Other instances than the traffic's, which would otherwise be in the cache already.
SEED_OFFSET = 2_000_003


class CalibrationError(Exception):
    """A response was not a prediction, so its duration cannot be used."""


def rate_for(seconds: float) -> float:
    """Whole requests a second for a machine on which a response takes ``seconds``."""
    return min(HIGHEST_RATE, max(LOWEST_RATE, float(int(BUSY_SHARE / seconds))))


async def median_response_seconds(load: LoadConfig) -> float:
    """The median response time of the target of ``load`` for sequential requests. Raises CalibrationError."""
    seconds: list[float] = []
    async with connect(load) as session:
        for instance in islice(sample_instances(load.seed + SEED_OFFSET), REQUESTS):
            sent_at = time.monotonic()
            body = {"instances": [instance.features]}
            async with session.post(load.url, json=body, server_hostname=load.host) as response:
                await response.read()
                if response.status != HTTPStatus.OK:
                    raise CalibrationError(f"{load.url} answered {response.status} while its speed was measured")
            seconds.append(time.monotonic() - sent_at)
    return statistics.median(seconds)
