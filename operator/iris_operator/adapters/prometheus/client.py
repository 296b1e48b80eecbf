"""Queries to Prometheus. Results are validated here; nothing is retried: the next interval queries again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.exceptions import HTTPError

from iris_operator.adapters.prometheus.bounded import BoundedQuery, DeadlineExceeded, ResultTooLarge
from iris_operator.adapters.prometheus.lanes import Lane
from iris_operator.engine.ports import MetricsUnavailable

Sample = tuple[float, float]
"""Seconds since 1970, value."""

# Of counters, in one query. In memory a result takes seven times as much, and three may be read at the same time.
MAX_RESULT_BYTES = 4 * 2**20
# Of a custom query, which has one number.
_MAX_NUMBER_BYTES = 256 * 2**10
# At the same time, for all releases: Prometheus has other clients, too.
_PLACES = {"counters": 2, "slow counters": 1, "numbers": 4, "slow numbers": 1}
# A query that takes this part of its deadline is slow: the next time it waits with others of its kind.
_SLOW = 0.5
_MAX_SLOW_QUERIES = 10_000
# Beyond the deadline, until a query is given up that cannot be aborted, as one that looks up a name.
_GRACE_SECONDS = 0.5


@dataclass(frozen=True)
class Series:
    """One counter of one pod: its labels and its raw samples in order of time."""

    labels: Mapping[str, str]
    samples: Sequence[Sample]


class TooMuch(MetricsUnavailable):
    """The result was too large, or not complete at the deadline: less of it may be had."""


class PrometheusClient:
    """Queries one Prometheus, or a store with the same API.

    A query gets `timeout_seconds` from the first byte of its connection to the last one of its result, and may wait
    as long for a place before.
    """

    def __init__(self, url: str, *, timeout_seconds: float, max_result_bytes: int = MAX_RESULT_BYTES) -> None:
        self._url = url.rstrip("/")
        self._seconds = timeout_seconds
        self._max_result_bytes = max_result_bytes
        self._lanes = {name: Lane(places, timeout_seconds) for name, places in _PLACES.items()}
        # Not the event loop's own threads: those compute judgements, and look up the API server's address.
        self._threads = ThreadPoolExecutor(sum(_PLACES.values()), thread_name_prefix="prometheus")
        self._slow_queries: set[str] = set()

    async def matrix(self, query: str, at: float, *, slow: bool = False) -> list[Series]:
        """The series of a range vector at a moment. One that is known to be `slow` waits for a place of its own kind.

        Raises:
            TooMuch: the result is larger than the limit, or takes longer than the deadline.
            MetricsUnavailable: no result, a partial one, or one that is no matrix of counters.
        """
        lane = self._lanes["slow counters" if slow else "counters"]
        result = await self._query(query, at, lane, self._max_result_bytes)
        # Megabytes, for many releases: not in the event loop.
        return await asyncio.to_thread(parse_matrix, result)

    async def number(self, query: str, at: float) -> float | None:
        """The one number that is the result of a query; None when it has none.

        Raises:
            MetricsUnavailable: no result, or more than one number.
        """
        lane = self._lanes["slow numbers" if query in self._slow_queries else "numbers"]
        return parse_number(await self._query(query, at, lane, _MAX_NUMBER_BYTES))

    async def _query(self, query: str, at: float, lane: Lane, max_bytes: int) -> Any:
        async with lane.place():
            loop = asyncio.get_running_loop()
            started = loop.time()
            bounded = BoundedQuery(self._url, seconds=self._seconds, max_bytes=max_bytes)
            watchdog = loop.call_later(self._seconds, bounded.abort)
            try:
                async with asyncio.timeout(self._seconds + _GRACE_SECONDS):
                    return await loop.run_in_executor(self._threads, bounded.run, query, at)
            except (DeadlineExceeded, TimeoutError) as error:
                raise TooMuch(f"Prometheus has not answered completely in {self._seconds:g} s") from error
            except ResultTooLarge as error:
                raise TooMuch(f"Prometheus cannot answer: {error}") from error
            except (
                requests.RequestException,
                HTTPError,
                PrometheusApiClientException,
                KeyError,
                TypeError,
                ValueError,
            ) as error:
                raise MetricsUnavailable(
                    f"Prometheus cannot answer: {type(error).__name__}: {str(error)[:200]}"
                ) from error
            finally:
                watchdog.cancel()
                bounded.abort()
                if max_bytes == _MAX_NUMBER_BYTES:
                    self._note_slow(query, loop.time() - started)

    def _note_slow(self, query: str, seconds: float) -> None:
        self._slow_queries.discard(query)
        if seconds > _SLOW * self._seconds:
            if len(self._slow_queries) >= _MAX_SLOW_QUERIES:
                self._slow_queries.clear()
            self._slow_queries.add(query)


def parse_matrix(result: Any) -> list[Series]:
    """The series of a range-vector result.

    Raises:
        MetricsUnavailable: it is no such result, or a value is no count.
    """
    try:
        return [
            Series(row["metric"], [(float(moment), _count(value)) for moment, value in row["values"]]) for row in result
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise MetricsUnavailable(f"Prometheus answered something that is no matrix of counters: {error}") from error


def parse_number(result: Any) -> float | None:
    """The number in a result with one series or a scalar; None for none, or for NaN.

    Raises:
        MetricsUnavailable: it has several series, or is no result with numbers.
    """
    try:
        if not result:
            return None
        if not isinstance(result[0], dict):  # a scalar: [moment, value]
            value = float(result[1])
        elif len(result) > 1:
            raise MetricsUnavailable(f"the query has {len(result)} series in its result, and must have one")
        else:
            value = float(result[0]["value"][1])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MetricsUnavailable(f"Prometheus answered something that is no number: {error}") from error
    return None if math.isnan(value) else value


def _count(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text} is no count")
    return value
