"""`iris-analysis record FILE`: what a past release was judged by, from Prometheus into a file that `replay` reads."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from iris_operator.adapters.prometheus.client import PrometheusClient, Sample, Series
from iris_operator.adapters.prometheus.counters import FAMILIES, Span, counts_of
from iris_operator.adapters.prometheus.relayed import FAMILIES as RELAYED
from iris_operator.adapters.prometheus.relayed import with_relayed
from iris_operator.analysis.counts import RequestCounts

# What stable did before the canary came teaches what to expect, as the operator has it.
_TAUGHT_SECONDS = 120.0
# A gap this long in the operator's own metrics ends a rollout: the version was tried again later.
_GAP_SECONDS = 120.0
# A sample at or before the first interval is the baseline of its counts.
_LOOK_BACK_SECONDS = 30.0


class NothingRecorded(Exception):
    """Prometheus knows nothing of such a rollout."""


@dataclass(frozen=True)
class Wanted:
    """Which rollout: the newest of ``version`` in the ``window`` seconds before ``until``, in seconds since 1970."""

    namespace: str
    release: str
    version: str
    until: float
    window: float


@dataclass(frozen=True)
class Rollout:
    """Two revisions beside each other from ``since`` to ``until``; ``weights`` in percent, as the operator had them."""

    stable: str
    canary: str
    since: float
    until: float
    weights: Sequence[Sample]

    @property
    def steps(self) -> list[int]:
        """The weights that there were, and 100."""
        return sorted({round(weight) for _, weight in self.weights if weight > 0} | {100})


async def record(client: PrometheusClient, wanted: Wanted, interval: float, path: Path) -> int:
    """Write the counts of a rollout in intervals of so many seconds; how many lines.

    Raises:
        NothingRecorded: there is no such rollout.
        MetricsUnavailable: Prometheus does not answer, or with something that is no counter.
    """
    rollout = await _find(client, wanted)
    rows = _rows(rollout, await _counters(client, wanted, rollout), interval)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


async def _find(client: PrometheusClient, wanted: Wanted) -> Rollout:
    mine = f'namespace="{wanted.namespace}",release="{wanted.release}"'
    window = f"[{math.ceil(wanted.window)}s]"
    infos = await client.matrix(f'iris_release_info{{{mine},canary="{wanted.version}"}}{window}', wanted.until)
    if not infos:
        where = f"{wanted.namespace}/{wanted.release}"
        raise NothingRecorded(f"no rollout of version {wanted.version} of {where} in the last {wanted.window:.0f} s")
    newest = max(infos, key=lambda series: series.samples[-1][0])
    since, until = _last_run(newest.samples)
    found = await client.matrix(f"iris_release_weight{{{mine}}}{window}", wanted.until)
    weights = sorted(sample for series in found for sample in series.samples if since <= sample[0] <= until)
    return Rollout(newest.labels["stable_revision"], newest.labels["canary_revision"], since, until, weights)


def _last_run(samples: Sequence[Sample]) -> tuple[float, float]:
    """When the newest samples that follow each other begin and end."""
    since = samples[0][0]
    for (before, _), (after, _) in pairwise(samples):
        if after - before > _GAP_SECONDS:
            since = after
    return since, samples[-1][0]


async def _counters(client: PrometheusClient, wanted: Wanted, rollout: Rollout) -> Mapping[str, list[Series]]:
    labels = f'namespace="{wanted.namespace}",release="{wanted.release}"'
    names = "|".join(sorted({**FAMILIES, **RELAYED}))
    seconds = math.ceil(rollout.until - rollout.since + _TAUGHT_SECONDS + _LOOK_BACK_SECONDS)
    revisions = f'revision=~"{rollout.stable}|{rollout.canary}"'
    series = await client.matrix(f'{{__name__=~"{names}",{labels},{revisions}}}[{seconds}s]', rollout.until)
    return {
        revision: [one for one in series if one.labels.get("revision") == revision]
        for revision in (rollout.stable, rollout.canary)
    }


def _rows(rollout: Rollout, series: Mapping[str, list[Series]], interval: float) -> list[dict[str, str | int]]:
    # The same moments for every rollout with this interval, as the operator has it.
    first = math.floor((rollout.since - _TAUGHT_SECONDS) / interval)
    ticks = [tick * interval for tick in range(first, math.floor(rollout.until / interval) + 1)]
    rows: list[dict[str, str | int]] = []
    for since, until in pairwise(ticks):
        span = Span(since, until, interval)
        told = {revision: counts_of(of, (), span) for revision, of in series.items()}
        counts = with_relayed({revision: of for revision, of in told.items() if of is not None}, series, span)
        stable, canary = counts.get(rollout.stable), counts.get(rollout.canary, RequestCounts())
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
                **(_columns("canary", canary) if canary.total else _nothing("canary", stable)),
            }
        )
    return rows


def _columns(side: str, counts: RequestCounts) -> dict[str, str | int]:
    single = {"failures": counts.failures, "correct": counts.correct, "incorrect": counts.incorrect}
    bounds = {bound: count for bound, count in sorted(counts.at_most.items()) if bound < math.inf}
    return {
        f"{side}_requests": counts.total,
        f"{side}_errors": counts.server_errors,
        **{f"{side}_{name}": count for name, count in single.items() if count is not None},
        **{f"{side}_le_{bound:g}": count for bound, count in bounds.items()},
        **{
            f"{side}_{tier}_le_{bound:g}": count
            for tier, histogram in sorted((counts.cached or {}).items())
            for bound, count in sorted(histogram.items())
        },
        **{f"{side}_class_{name}": count for name, count in sorted((counts.by_class or {}).items())},
    }


def _nothing(side: str, like: RequestCounts) -> dict[str, str | int]:
    return dict.fromkeys((name.replace("stable", side, 1) for name in _columns("stable", like)), 0)
