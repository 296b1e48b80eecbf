"""Queries to Prometheus. Results are validated here; nothing is retried: the next interval queries again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from iris_operator.engine.ports import MetricsUnavailable

Sample = tuple[float, float]
"""Seconds since 1970, value."""

# At the same time, for all releases: Prometheus has other clients, too.
_MAX_CONCURRENT_QUERIES = 4
# Warnings are last in a response; the samples before them may be megabytes.
_TAIL_BYTES = 8192


@dataclass(frozen=True)
class Series:
    """One counter of one pod: its labels and its raw samples in order of time."""

    labels: Mapping[str, str]
    samples: Sequence[Sample]


class _PartialResult(requests.RequestException):
    """A result from only some of the stores."""


class PrometheusClient:
    """Queries one Prometheus, or a store with the same API."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        session = requests.Session()
        session.hooks["response"].append(_reject_partial)
        self._prometheus = PrometheusConnect(
            url=url, retry=Retry(total=0), timeout=math.ceil(timeout_seconds), session=session
        )
        self._semaphore = asyncio.Semaphore(_MAX_CONCURRENT_QUERIES)

    async def matrix(self, query: str, at: float) -> list[Series]:
        """The series of a range vector at a moment.

        Raises:
            MetricsUnavailable: no result, a partial one, or one that is no matrix of counters.
        """
        result = await self._query(query, at)
        # Megabytes, for many releases: not in the event loop.
        return await asyncio.to_thread(parse_matrix, result)

    async def number(self, query: str, at: float) -> float | None:
        """The one number that is the result of a query; None when it has none.

        Raises:
            MetricsUnavailable: no result, or more than one number.
        """
        return parse_number(await self._query(query, at))

    async def _query(self, query: str, at: float) -> Any:
        try:
            async with self._semaphore:
                return await asyncio.to_thread(self._prometheus.custom_query, query, {"time": f"{at:.3f}"})
        except (requests.RequestException, PrometheusApiClientException, KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailable(f"Prometheus cannot answer: {type(error).__name__}: {str(error)[:200]}") from error


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


def _reject_partial(response: requests.Response, *_: Any, **__: Any) -> None:
    if b'"warnings":' in response.content[-_TAIL_BYTES:]:
        raise _PartialResult(f"a partial result: {response.text[-300:]}")
