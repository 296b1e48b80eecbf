"""Queries to Prometheus. What it says is checked here; nothing is retried: the next interval asks again."""

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
"""Seconds since the epoch, value."""

# At once, of a fleet's queries: Prometheus has others to answer, too.
_AT_ONCE = 4
# Warnings come last in an answer; the counts before them may be megabytes.
_TAIL_BYTES = 8192


@dataclass(frozen=True)
class Series:
    """One counter of one pod: its labels and its raw samples in order of time."""

    labels: Mapping[str, str]
    samples: Sequence[Sample]


class _Partial(requests.RequestException):
    """An answer from a part of the stores only."""


class PrometheusClient:
    """Asks one Prometheus, or what speaks like one."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        session = requests.Session()
        session.hooks["response"].append(_refuse_partial)
        self._prometheus = PrometheusConnect(
            url=url, retry=Retry(total=0), timeout=math.ceil(timeout_seconds), session=session
        )
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def matrix(self, query: str, at: float) -> list[Series]:
        """The series of a range vector at a moment.

        Raises:
            MetricsUnavailable: no answer, a partial one, or one that is no matrix of counters.
        """
        answer = await self._ask(query, at)
        # Megabytes, for a fleet: not in the event loop.
        return await asyncio.to_thread(parse_matrix, answer)

    async def number(self, query: str, at: float) -> float | None:
        """The one number that a query has for an answer; None when it has none.

        Raises:
            MetricsUnavailable: no answer, or more than one number.
        """
        return parse_number(await self._ask(query, at))

    async def _ask(self, query: str, at: float) -> Any:
        try:
            async with self._places:
                return await asyncio.to_thread(self._prometheus.custom_query, query, {"time": f"{at:.3f}"})
        except (requests.RequestException, PrometheusApiClientException, KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailable(f"Prometheus cannot answer: {type(error).__name__}: {str(error)[:200]}") from error


def parse_matrix(answer: Any) -> list[Series]:
    """The series of a range-vector answer.

    Raises:
        MetricsUnavailable: it is no such answer, or a value is no count.
    """
    try:
        return [
            Series(row["metric"], [(float(moment), _count(value)) for moment, value in row["values"]]) for row in answer
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise MetricsUnavailable(f"Prometheus answered something that is no matrix of counters: {error}") from error


def parse_number(answer: Any) -> float | None:
    """The number in an answer with one series or a scalar; None for none, or for NaN.

    Raises:
        MetricsUnavailable: it has several series, or is no answer with numbers.
    """
    try:
        if not answer:
            return None
        if not isinstance(answer[0], dict):  # a scalar: [moment, value]
            value = float(answer[1])
        elif len(answer) > 1:
            raise MetricsUnavailable(f"the query has {len(answer)} series for an answer, and must have one")
        else:
            value = float(answer[0]["value"][1])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MetricsUnavailable(f"Prometheus answered something that is no number: {error}") from error
    return None if math.isnan(value) else value


def _count(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text} is no count")
    return value


def _refuse_partial(response: requests.Response, *_: Any, **__: Any) -> None:
    if b'"warnings":' in response.content[-_TAIL_BYTES:]:
        raise _Partial(f"a partial answer: {response.text[-300:]}")
