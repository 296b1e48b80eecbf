"""Request counts from Prometheus: raw counters per pod, summed up here.

Never `increase()` or `rate()`: they extrapolate, and the statistics need the integers that happened.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from iris_operator.analysis.counts import RequestCounts
from iris_operator.engine.ports import MetricsUnavailable

REQUESTS = "inference_requests_total"
DURATIONS = "inference_request_duration_seconds"

Sample = tuple[float, float]
"""Seconds since the epoch, value."""


@dataclass(frozen=True)
class Series:
    """One counter of one pod: its labels and its raw samples in order of time."""

    labels: Mapping[str, str]
    samples: Sequence[Sample]


class PrometheusMetrics:
    """Implements `engine.ports.Metrics`."""

    def __init__(self, url: str, *, timeout_seconds: float, look_back_seconds: float, max_age_seconds: float) -> None:
        # No retries here: a pass that found no metrics holds, and the next one asks again.
        self._prometheus = PrometheusConnect(url=url, retry=Retry(total=0), timeout=math.ceil(timeout_seconds))
        self._look_back = look_back_seconds
        self._max_age = max_age_seconds

    async def counts(
        self, namespace: str, release: str, revisions: Collection[str], since: datetime, until: datetime
    ) -> Mapping[str, RequestCounts]:
        """See `Metrics.counts`."""
        selector = f'namespace="{namespace}",release="{release}",revision=~"{"|".join(revisions)}"'
        window = math.ceil((until - since).total_seconds() + self._look_back)
        answers = [
            await self._query(f"{name}{{{selector}}}[{window}s]", until) for name in (REQUESTS, f"{DURATIONS}_bucket")
        ]
        codes, buckets = answers
        found = {series.labels.get("revision", "") for series in codes}
        for revision in found:
            self._refuse_stale(
                [series for series in codes if series.labels.get("revision") == revision], revision, until
            )
        return {
            revision: _counts_of(_of(codes, revision), _of(buckets, revision), since.timestamp(), until.timestamp())
            for revision in found
        }

    async def _query(self, query: str, at: datetime) -> list[Series]:
        try:
            answer = await asyncio.to_thread(self._prometheus.custom_query, query, {"time": f"{at.timestamp():.3f}"})
        except (requests.RequestException, PrometheusApiClientException, KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailable(f"Prometheus cannot answer: {type(error).__name__}: {str(error)[:200]}") from error
        return parse_matrix(answer)

    def _refuse_stale(self, series: Iterable[Series], revision: str, until: datetime) -> None:
        newest = max((samples[-1][0] for one in series if (samples := one.samples)), default=0.0)
        age = until.timestamp() - newest
        if age > self._max_age:
            raise MetricsUnavailable(
                f"the newest sample of revision {revision} is {age:.0f} s old (limit {self._max_age:.0f} s)"
            )


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


def _count(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text} is no count")
    return value


def grown(series: Series, since: float, until: float, pod_seen: float) -> int:
    """By how much a counter grew in (since, until], resets of the process included.

    The baseline is the last sample at or before `since`. A series that begins later than its pod's first (a label
    seen for the first time) began at 0; a pod's own first sample is a baseline, what it counted before is not known.
    """
    relevant = [sample for sample in series.samples if sample[0] <= until]
    before = [value for moment, value in relevant if moment <= since]
    after = [value for moment, value in relevant if moment > since]
    if not after:
        return 0
    baseline = before[-1:] or ([0.0] if relevant[0][0] > pod_seen else [])
    return round(sum(new - old if new >= old else new for old, new in itertools.pairwise([*baseline, *after])))


def _counts_of(codes: list[Series], buckets: list[Series], since: float, until: float) -> RequestCounts:
    by_code: dict[str, int] = {}
    at_most: dict[float, int] = {}
    first_seen = _first_seen([*codes, *buckets])
    for series in codes:
        code = series.labels.get("code", "unknown")
        by_code[code] = by_code.get(code, 0) + grown(series, since, until, first_seen[_pod(series)])
    for series in buckets:
        bound = float(series.labels.get("le", "inf").replace("+Inf", "inf"))
        at_most[bound] = at_most.get(bound, 0) + grown(series, since, until, first_seen[_pod(series)])
    timed = at_most.get(math.inf, 0)
    return RequestCounts(by_code=by_code, at_most=at_most, timed=timed)


def _first_seen(series: Iterable[Series]) -> dict[str, float]:
    first: dict[str, float] = {}
    for one in series:
        if one.samples:
            pod = _pod(one)
            first[pod] = min(first.get(pod, math.inf), one.samples[0][0])
    return first


def _pod(series: Series) -> str:
    return series.labels.get("pod", "")


def _of(series: list[Series], revision: str) -> list[Series]:
    return [one for one in series if one.labels.get("revision") == revision and one.samples]
