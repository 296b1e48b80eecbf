"""`iris-analysis record FILE`: the counts that a release was judged by, from Prometheus into a file for `replay`."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from iris_operator.adapters.prometheus.client import PrometheusClient, Sample, Series
from iris_operator.adapters.prometheus.counters import LABELS_BY_METRIC, Window, counts_of
from iris_operator.adapters.prometheus.relayed_feedback import LABELS_BY_METRIC as RELAYED
from iris_operator.adapters.prometheus.relayed_feedback import with_relayed
from iris_operator.analysis.counts import RequestCounts
from iris_operator.api.names import control_revision
from iris_operator.engine.count_sums import pool

# Stable's baseline before the canary's first request, as long as the operator's.
_BASELINE_SECONDS = 120.0
# A gap this long in the operator's own metrics ends a rollout: a later one is another try of the same version.
_GAP_SECONDS = 120.0
# A sample at or before the first interval is the baseline of its counts.
_LOOK_BACK_SECONDS = 30.0


class RolloutNotFound(Exception):
    """Prometheus has no data of such a rollout."""


@dataclass(frozen=True)
class RolloutQuery:
    """Which rollout: the newest of ``version`` in the ``window`` seconds before ``until``, in seconds since 1970."""

    namespace: str
    release: str
    version: str
    until: float
    window: float


@dataclass(frozen=True)
class Rollout:
    """Two revisions side by side from ``since`` to ``until``; ``weights`` are the operator's, in percent."""

    stable: str
    canary: str
    since: float
    until: float
    weights: Sequence[Sample]

    @property
    def steps(self) -> list[int]:
        """The weights of the steps, and 100."""
        return sorted({round(weight) for _, weight in self.weights if weight > 0} | {100})


async def record(client: PrometheusClient, query: RolloutQuery, interval: float, path: Path) -> int:
    """Write the counts of a rollout in intervals of ``interval`` seconds; returns the number of lines.

    Raises:
        RolloutNotFound: there is no such rollout.
        MetricsUnavailable: Prometheus does not answer, or its answer is not a counter.
    """
    rollout = await _find(client, query)
    rows = _rows(rollout, await _counters(client, query, rollout), interval)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


async def _find(client: PrometheusClient, query: RolloutQuery) -> Rollout:
    labels = f'namespace="{query.namespace}",release="{query.release}"'
    window = f"[{math.ceil(query.window)}s]"
    infos = await client.matrix(f'iris_release_info{{{labels},canary="{query.version}"}}{window}', query.until)
    if not infos:
        where = f"{query.namespace}/{query.release}"
        raise RolloutNotFound(f"no rollout of version {query.version} of {where} in the last {query.window:.0f} s")
    newest = max(infos, key=lambda series: series.samples[-1][0])
    since, until = _last_run(newest.samples)
    samples = await client.matrix(f"iris_release_weight{{{labels}}}{window}", query.until)
    weights = sorted(sample for series in samples for sample in series.samples if since <= sample[0] <= until)
    return Rollout(newest.labels["stable_revision"], newest.labels["canary_revision"], since, until, weights)


def _last_run(samples: Sequence[Sample]) -> tuple[float, float]:
    """The first and last time of the newest samples without a gap."""
    since = samples[0][0]
    for (before, _), (after, _) in pairwise(samples):
        if after - before > _GAP_SECONDS:
            since = after
    return since, samples[-1][0]


async def _counters(client: PrometheusClient, query: RolloutQuery, rollout: Rollout) -> Mapping[str, list[Series]]:
    labels = f'namespace="{query.namespace}",release="{query.release}"'
    names = "|".join(sorted({**LABELS_BY_METRIC, **RELAYED}))
    seconds = math.ceil(rollout.until - rollout.since + _BASELINE_SECONDS + _LOOK_BACK_SECONDS)
    control = control_revision(rollout.stable, rollout.canary)
    revisions = f'revision=~"{rollout.stable}|{control}|{rollout.canary}"'
    series = await client.matrix(f'{{__name__=~"{names}",{labels},{revisions}}}[{seconds}s]', rollout.until)
    return {
        revision: [each for each in series if each.labels.get("revision") == revision]
        for revision in (rollout.stable, control, rollout.canary)
    }


def _rows(rollout: Rollout, series: Mapping[str, list[Series]], interval: float) -> list[dict[str, str | int]]:
    # Multiples of the interval, as in the operator.
    first = math.floor((rollout.since - _BASELINE_SECONDS) / interval)
    ticks = [tick * interval for tick in range(first, math.floor(rollout.until / interval) + 1)]
    rows: list[dict[str, str | int]] = []
    for since, until in pairwise(ticks):
        window = Window(since, until, interval)
        scraped = {revision: counts_of(of, (), window) for revision, of in series.items()}
        counts = with_relayed({revision: of for revision, of in scraped.items() if of is not None}, series, window)
        stable, canary = counts.get(rollout.stable), counts.get(rollout.canary, RequestCounts())
        control = counts.get(control_revision(rollout.stable, rollout.canary))
        # The control group is a part of stable, as for the operator.
        stable = pool([stable, control]) if stable and control else stable
        if stable is None or not stable.total:
            continue
        weights = {weight for at, weight in rollout.weights if since <= at <= until}
        weight = round(max(weights, default=0.0))
        rows.append(
            {
                "second": round(until - rollout.since),
                "next_weight": next(step for step in rollout.steps if step > weight or step == rollout.steps[-1]),
                "weight": weight if len(weights) == 1 and weight else "",
                **_columns("stable", stable),
                **(_columns("canary", canary) if canary.total else _zero_columns("canary", stable)),
            }
        )
    return rows


def _columns(revision: str, counts: RequestCounts) -> dict[str, str | int]:
    single = {"failures": counts.failures, "correct": counts.correct, "incorrect": counts.incorrect}
    bounds = {bound: count for bound, count in sorted(counts.at_most.items()) if bound < math.inf}
    return {
        f"{revision}_requests": counts.total,
        f"{revision}_errors": counts.server_errors,
        **{f"{revision}_{name}": count for name, count in single.items() if count is not None},
        **{f"{revision}_le_{bound:g}": count for bound, count in bounds.items()},
        **{
            f"{revision}_{tier}_le_{bound:g}": count
            for tier, histogram in sorted((counts.cached or {}).items())
            for bound, count in sorted(histogram.items())
        },
        **{f"{revision}_class_{name}": count for name, count in sorted((counts.by_class or {}).items())},
    }


def _zero_columns(revision: str, like: RequestCounts) -> dict[str, str | int]:
    return dict.fromkeys((name.replace("stable", revision, 1) for name in _columns("stable", like)), 0)
