"""Ask the metrics for the newest interval and let the checks judge it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from iris_operator.analysis.counts import Interval
from iris_operator.analysis.judge import Judgement, judge, unjudged
from iris_operator.analysis.verdict import Verdict
from iris_operator.engine.ports import Metrics, MetricsUnavailable
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import Observation
from iris_operator.rollout.plan import steps_of

# The checks whose counts `Metrics.counts` delivers.
MEASURED = frozenset({"errorRate", "latency"})


@dataclass(frozen=True)
class Judged:
    """A judgement and the moment up to which requests are now counted."""

    judgement: Judgement
    through: datetime | None


class Judging:
    """Judges each interval once, a little late, when its last scrape has surely arrived."""

    def __init__(self, metrics: Metrics, lag_seconds: float) -> None:
        self._metrics = metrics
        self._lag = timedelta(seconds=lag_seconds)

    async def judge(self, release: Release, observation: Observation, now: datetime) -> Judged:
        """The judgement of the interval that begins where the last one ended."""
        status, spec = release.status, release.spec
        canary, stable, started = status.canary, status.stable, status.rollout.step_started_at
        memory = json.loads(status.analysis.memory) if status.analysis and status.analysis.memory else {}
        if canary is None or stable is None or started is None:
            return Judged(
                unjudged(Verdict.NO_DATA, "there are no two revisions to compare", memory, spec.analysis, MEASURED),
                None,
            )
        # Dated back by the lag, like the end: the first scrape of a step is the baseline of its counts.
        since = (status.analysis.judged_through if status.analysis else None) or started
        until = now - self._lag
        if until <= since:
            return Judged(
                unjudged(Verdict.HOLD, "the first requests have not been scraped yet", memory, spec.analysis, MEASURED),
                since,
            )
        try:
            counts = await self._metrics.counts(
                release.namespace, release.name, (canary.revision, stable.revision), since, until
            )
        except MetricsUnavailable as error:
            return Judged(unjudged(Verdict.ERROR, str(error), memory, spec.analysis, MEASURED), since)
        interval = Interval(canary=counts.get(canary.revision), stable=counts.get(stable.revision))
        next_weight = steps_of(spec)[observation.status.step.index].weight
        judgement = judge(interval, memory, spec.analysis, next_weight, MEASURED)
        # An interval that could not be counted is judged again, together with the next: nothing is lost, nothing
        # counted twice.
        return Judged(judgement, until if judgement.counted else since)
