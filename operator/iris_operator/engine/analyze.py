"""Query the metrics of the newest interval and judge it: each request once, as soon as it has been scraped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from iris_operator.analysis.check import Checkpoint
from iris_operator.analysis.checkpoint import parse
from iris_operator.analysis.counts import Interval, without_requests
from iris_operator.analysis.judge import unjudged
from iris_operator.analysis.prepare import AnalysisInput, baseline_input
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import ReleaseSpec
from iris_operator.engine.batch_judge import BatchJudge
from iris_operator.engine.count_sums import pool
from iris_operator.engine.metrics_query import baseline_query, build_query, control_group_of
from iris_operator.engine.ports import Metrics, MetricsQuery, MetricsResult, MetricsUnavailable, OwnedObjects
from iris_operator.engine.release import Release
from iris_operator.engine.shadow_results import with_shadow_results
from iris_operator.rollout.builder import ALL_TRAFFIC, steps_of
from iris_operator.rollout.comparison import step_pods
from iris_operator.rollout.incident import shift_accepted
from iris_operator.rollout.observation import AnalysisResult
from iris_operator.rollout.timing import judgement_interval, tick_before

# Before the canary gets a request, the baseline is measured over stable's last minutes.
_BASELINE_PERIOD = timedelta(seconds=120)
# After a longer outage of the metrics only so much of the time before is counted.
_MAX_INTERVAL = timedelta(minutes=10)
# A sample has the time at which its scrape began, and can be read a little later.
_SCRAPE_DURATION = timedelta(seconds=1)


@dataclass(frozen=True)
class _Period:
    """The interval (since, until], and the step of the release that it belongs to.

    An interval that began before the step did belongs to the previous one: what passes a step are requests of its own.
    """

    since: datetime
    until: datetime
    step_index: int
    in_shadow_step: bool
    in_current_step: bool
    single_weight: bool
    """Was the weight the same throughout?"""

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.until - self.since).total_seconds()


class Analyzer:
    """Judges each interval once: it ends where the newest sample of the pod that was scraped first ends.

    `lag_seconds` is how long a pod may be ready before it has been scraped.
    """

    def __init__(self, metrics: Metrics, batch_judge: BatchJudge, lag_seconds: float) -> None:
        self._metrics = metrics
        self._batch_judge = batch_judge
        self._lag = timedelta(seconds=lag_seconds)

    async def judge(self, release: Release, owned: OwnedObjects, now: datetime) -> AnalysisResult:
        """The judgement of the interval that begins where the last one ended."""
        status, spec, checkpoint = release.status, release.spec, _stored_checkpoint(release)
        if status.canary is None or status.stable is None or status.rollout.step_started_at is None:
            reason = "there are no two revisions to compare"
            return AnalysisResult(unjudged(Verdict.NO_DATA, reason, checkpoint, spec.analysis), None)
        since, until = self._since(release, now), self._until(release, now)
        if until <= since:
            return _nothing_counted(release, since, Verdict.HOLD, "the first requests have not been scraped yet")
        query = self._query(release, owned, since, until)
        try:
            counted = await self._metrics.count(query)
        except MetricsUnavailable as error:
            return _nothing_counted(release, since, Verdict.ERROR, str(error))
        period = self._period(release, since, counted.until or until)
        interval = _interval(release, counted, period)
        if interval.stable is None and interval.canary is not None and status.rollout.stable_down_since is not None:
            # No pod of stable is there, and after a while none of its series either: the canary is judged alone.
            interval = replace(interval, stable=without_requests(interval.canary))
        judgement = await self._batch_judge.judge(_analysis_input(release, interval, period, now))
        if not period.in_current_step and judgement.verdict is Verdict.PASS:
            judgement = replace(judgement, verdict=Verdict.HOLD)
        # An interval that could not be counted is judged together with the next: no request is lost or counted twice.
        judged_through = period.until if judgement.counted else period.since
        rate = _requests_per_second(interval, period) if judgement.counted else None
        result = AnalysisResult(judgement, judged_through, rate)
        return with_shadow_results(
            release, result, counted.shadow if judgement.counted else None, in_shadow_step=period.in_shadow_step
        )

    async def judge_baseline(self, release: Release, owned: OwnedObjects, now: datetime) -> AnalysisResult:
        """Measure stable's baseline before the canary gets its first request. Nothing is concluded."""
        status, spec, checkpoint = release.status, release.spec, _stored_checkpoint(release)
        judged_through = status.analysis.judged_through if status.analysis else None
        until = self._until(release, now)
        since = max(judged_through or until - _BASELINE_PERIOD, until - _MAX_INTERVAL)
        if status.stable is None or until <= since:
            return AnalysisResult(
                unjudged(Verdict.HOLD, "there is nothing to measure yet", checkpoint, spec.analysis), judged_through
            )
        stable = status.stable.revision
        # In parts as long as those that are judged: how much the counts of one vary is learnt, too.
        length = timedelta(seconds=_judgement_seconds(release))
        split_at = sorted(until - length * part for part in range(1, (until - since) // length + 1))
        query = baseline_query(self._query(release, owned, since, until), stable, split_at)
        try:
            counted = await self._metrics.count(query)
        except MetricsUnavailable as error:
            return AnalysisResult(unjudged(Verdict.ERROR, str(error), checkpoint, spec.analysis), judged_through)
        whole, end = counted.counts.get(stable), counted.until or until
        if whole is None:
            reason = "Prometheus has no requests of the stable revision"
            return AnalysisResult(unjudged(Verdict.NO_DATA, reason, checkpoint, spec.analysis), judged_through)
        if end <= since:
            reason = "nothing new has been scraped"
            return AnalysisResult(unjudged(Verdict.HOLD, reason, checkpoint, spec.analysis), judged_through)
        *parts, last = [part[stable] for part in counted.parts if stable in part] or [whole]
        arms = step_pods(spec.serving.replicas, steps_of(spec)[0])
        # Also while all traffic is on stable after a retreat: what has lasted for long is what is normal there.
        accept_shift = shift_accepted(status, now)
        for part in parts:
            learning = replace(baseline_input(part, checkpoint, spec.analysis), accept_shift=accept_shift)
            checkpoint = (await self._batch_judge.judge(learning)).checkpoint
        judgement = await self._batch_judge.judge(
            replace(baseline_input(last, checkpoint, spec.analysis), arms=arms, accept_shift=accept_shift)
        )
        return AnalysisResult(judgement, end, whole.total / (end - since).total_seconds())

    async def judge_watch(self, release: Release, owned: OwnedObjects, now: datetime) -> AnalysisResult:
        """Judge the promoted version by itself, against what the rollout recorded of the one before."""
        status, analysis = release.status, release.spec.analysis
        watched, until = status.watch, self._until(release, now)
        assert watched is not None and status.stable is not None, "a version is watched"  # noqa: S101, PT018 - an invariant of `decide`
        checkpoint = parse(watched.memory)
        since = max(watched.judged_through or until, until - _MAX_INTERVAL)
        revision = status.stable.revision
        if until <= since:
            reason = "nothing new has been scraped"
            return AnalysisResult(unjudged(Verdict.HOLD, reason, checkpoint, analysis), since)
        query = baseline_query(self._query(release, owned, since, until), revision, ())
        try:
            counted = await self._metrics.count(query)
        except MetricsUnavailable as error:
            return AnalysisResult(unjudged(Verdict.ERROR, str(error), checkpoint, analysis), since)
        counts = counted.counts.get(revision)
        if counts is None:
            reason = "Prometheus has no requests of the promoted revision"
            return AnalysisResult(unjudged(Verdict.NO_DATA, reason, checkpoint, analysis), since)
        # Custom queries are about a canary, of which there is none.
        settings = analysis.model_copy(update={"checks": analysis.checks.model_copy(update={"custom": []})})
        alone = Interval(canary=counts, stable=without_requests(counts))
        step = len(steps_of(release.spec)) + 1
        judgement = await self._batch_judge.judge(
            AnalysisInput(alone, checkpoint, settings, ALL_TRAFFIC, step=step, alone=True)
        )
        return AnalysisResult(judgement, (counted.until or until) if judgement.counted else since)

    def _until(self, release: Release, now: datetime) -> datetime:
        """The end of the newest interval: the same for all releases of one length, so that they share queries."""
        return datetime.fromtimestamp(tick_before(now, _judgement_seconds(release)), UTC) - _SCRAPE_DURATION

    def _since(self, release: Release, now: datetime) -> datetime:
        analysis, started = release.status.analysis, release.status.rollout.step_started_at
        assert started is not None, "a step has begun"  # noqa: S101 - an invariant of `judge`
        judged_through = analysis.judged_through if analysis else None
        return max(judged_through or started - self._lag, self._until(release, now) - _MAX_INTERVAL)

    def _query(self, release: Release, owned: OwnedObjects, since: datetime, until: datetime) -> MetricsQuery:
        next_until = until + timedelta(seconds=_judgement_seconds(release))
        return build_query(release, owned, since, until, next_until, self._lag)

    def _period(self, release: Release, since: datetime, until: datetime) -> _Period:
        started, index = release.status.rollout.step_started_at, release.status.step.index
        assert started is not None, "a step has begun"  # noqa: S101 - an invariant of `judge`
        in_current_step = since >= started
        return _Period(
            since,
            until,
            step_index=index if in_current_step else max(0, index - 1),
            # Requests that users made after a shadow step count, whenever the interval began.
            in_shadow_step=_is_shadow_step(release.spec, index if until > started else index - 1),
            in_current_step=in_current_step,
            # An increase starts from a scrape at or before the beginning of its interval.
            single_weight=since >= started + self._lag / 2,
        )


def _nothing_counted(release: Release, since: datetime, verdict: Verdict, reason: str) -> AnalysisResult:
    judgement = unjudged(verdict, reason, _stored_checkpoint(release), release.spec.analysis)
    in_shadow_step = _is_shadow_step(release.spec, release.status.step.index)
    return with_shadow_results(release, AnalysisResult(judgement, since), in_shadow_step=in_shadow_step)


def _analysis_input(release: Release, interval: Interval, period: _Period, now: datetime) -> AnalysisInput:
    """The interval as that of its step, `period.step_index`; the last step leads to all of the traffic."""
    steps, index = steps_of(release.spec), period.step_index
    last = index >= len(steps)
    return AnalysisInput(
        interval,
        _stored_checkpoint(release),
        release.spec.analysis,
        ALL_TRAFFIC if last else steps[index].weight,
        step=index,
        accept_shift=shift_accepted(release.status, now),
        alone=last and interval.control is None,
        mirrored=period.in_shadow_step,
        arms=step_pods(release.spec.serving.replicas, steps[max(0, min(index, len(steps)) - 1)]),
    )


def _interval(release: Release, counted: MetricsResult, period: _Period) -> Interval:
    """In a shadow step both arms are judged by mirrored requests; labels of those count in any step."""
    status, mirrored = release.status, counted.shadow
    assert status.canary is not None and status.stable is not None, "the query names both"  # noqa: S101, PT018 - an invariant of `judge`
    canary, stable = counted.counts.get(status.canary.revision), counted.counts.get(status.stable.revision)
    control_group, control = control_group_of(release), None
    if control_group and stable:
        # A control group without any sample got no request: durations are never compared with production instead.
        control = counted.counts.get(control_group) or without_requests(stable)
    if period.in_shadow_step and canary and mirrored:
        canary = replace(mirrored.counts, features=canary.features)
        control = control and replace(mirrored.control or without_requests(control), features=control.features)
    if control and stable:
        stable = pool([stable, control])
    return Interval(
        canary=canary,
        stable=stable,
        control=control,
        weight=_claimed_share(release) if period.single_weight and not period.in_shadow_step else None,
        custom=counted.custom,
        paired=mirrored.labels[1:3] if mirrored else None,
    )


def _claimed_share(release: Release) -> float | None:
    """The share of the requests that the router claims to give the canary, if it gives stable some, too."""
    status = release.status
    percent = status.weight if control_group_of(release) else status.rollout.confirmed_weight
    last_step = status.step.index >= len(steps_of(release.spec))
    return percent / 100 if 0 < percent < ALL_TRAFFIC and not last_step else None


def _judgement_seconds(release: Release) -> float:
    return judgement_interval(parse_duration(release.spec.rollout.interval))


def _is_shadow_step(spec: ReleaseSpec, index: int) -> bool:
    """Is this the step, counted from 1, that mirrors requests to the canary?"""
    return 0 < index <= len(steps_of(spec)) and steps_of(spec)[index - 1].shadow is not None


def _stored_checkpoint(release: Release) -> Checkpoint:
    """The evidence so far."""
    return parse(release.status.analysis.memory) if release.status.analysis else {}


def _requests_per_second(interval: Interval, period: _Period) -> float | None:
    """Requests per second of both revisions together, without mirrored ones."""
    counted = [each.total if each else 0 for each in (interval.canary, interval.stable, interval.control)]
    canary, stable, control = counted
    # The control group is a part of stable.
    total = stable - control if period.in_shadow_step else canary + stable
    return total / period.seconds if period.seconds > 0 else None
