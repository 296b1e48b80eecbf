"""Ask the metrics for the newest interval and let the checks judge it: once, late by the lag, and never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from iris_operator.analysis.check import Memory
from iris_operator.analysis.checks import agreement
from iris_operator.analysis.checks import copies as arrived
from iris_operator.analysis.counts import Copies, Interval, RequestCounts
from iris_operator.analysis.judge import Case, Judgement, judge_fleet, lesson, unjudged
from iris_operator.analysis.memory import read
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.api import names
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import ReleaseSpec
from iris_operator.engine.pods import ready_since
from iris_operator.engine.ports import Answer, Children, Metrics, MetricsUnavailable, Question
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import Judged
from iris_operator.rollout.plan import steps_of
from iris_operator.rollout.timing import tick_before

# Before the canary gets a request, stable's last minutes teach what to expect.
_TAUGHT = timedelta(seconds=120)
# Metrics that were away for longer than this tell only of the time since.
_LONGEST = timedelta(minutes=10)


@dataclass
class _Waiting:
    case: Case
    judgement: Judgement | None = None


class FleetJudge:
    """Judges together what waits together: releases that are due at the same moment cost little more than one."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []

    async def judge(self, case: Case) -> Judgement:
        """The judgement of one case, once it is this one's turn or somebody else has judged it along."""
        mine = _Waiting(case)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if mine.judgement is None:
                    await self._judge_all()
        finally:
            # Also when this one is called off: the others are still there for whoever's turn is next.
            self._waiting = [each for each in self._waiting if each is not mine]
        assert mine.judgement is not None, "it was among all"  # noqa: S101 - an invariant of the lines above
        return mine.judgement

    async def _judge_all(self) -> None:
        batch = list(self._waiting)
        # In a thread of its own, so that a fleet's numbers keep no pass from its rollback.
        judgements = await asyncio.to_thread(judge_fleet, [each.case for each in batch])
        for each, judgement in zip(batch, judgements, strict=True):
            each.judgement = judgement


@dataclass(frozen=True)
class _Span:
    """An interval in (since, until]; `fresh` when it reaches into the present step."""

    since: datetime
    until: datetime
    fresh: bool
    single_weight: bool


class Judging:
    """Judges each interval once, a little late, when its last scrape has surely arrived."""

    def __init__(self, metrics: Metrics, bench: FleetJudge, lag_seconds: float) -> None:
        self._metrics = metrics
        self._bench = bench
        self._lag = timedelta(seconds=lag_seconds)

    async def judge(self, release: Release, children: Children, now: datetime) -> Judged:
        """The judgement of the interval that begins where the last one ended."""
        status, spec = release.status, release.spec
        memory = _memory(release)
        if status.canary is None or status.stable is None or status.rollout.step_started_at is None:
            reason = "there are no two revisions to compare"
            return Judged(unjudged(Verdict.NO_DATA, reason, memory, spec.analysis), None)
        span = self._span(release, now, status.rollout.step_started_at)
        shadow = _shadowed(spec, status.step.index)
        if span.until <= span.since:
            judgement = unjudged(Verdict.HOLD, "the first requests have not been scraped yet", memory, spec.analysis)
            return _reported(release, Judged(judgement, span.since), shadow=shadow)
        question = self._question(release, children, span)
        try:
            answer = await self._metrics.count(question)
        except MetricsUnavailable as error:
            judgement = unjudged(Verdict.ERROR, str(error), memory, spec.analysis)
            return _reported(release, Judged(judgement, span.since), shadow=shadow)
        # What came before the step's own requests is judged as the step before it was, and lets nothing go on.
        at = status.step.index if span.fresh else status.step.index - 1
        shadow = _shadowed(spec, at)
        interval = self._interval(release, answer, span, shadow=shadow)
        judgement = await self._bench.judge(Case(interval, memory, spec.analysis, steps_of(spec)[at].weight))
        if not span.fresh and judgement.verdict is Verdict.PASS:
            judgement = replace(judgement, verdict=Verdict.HOLD)
        # An interval that could not be counted is judged again, together with the next: nothing is lost, nothing
        # counted twice.
        through = span.until if judgement.counted else span.since
        judged = Judged(judgement, through, _rate(interval, span, shadow=shadow) if judgement.counted else None)
        return _reported(release, judged, answer.copies if judgement.counted else None, shadow=shadow)

    async def learn(self, release: Release, children: Children, now: datetime) -> Judged:
        """What stable alone has to teach before the canary gets its first request. Nothing is concluded."""
        status, spec, memory = release.status, release.spec, _memory(release)
        before = status.analysis.judged_through if status.analysis else None
        until = self._until(release, now)
        since = before or until - _TAUGHT
        if status.stable is None or until <= since:
            return Judged(unjudged(Verdict.HOLD, "nothing to learn yet", memory, spec.analysis), before)
        span = _Span(max(since, until - _LONGEST), until, fresh=False, single_weight=False)
        question = self._question(release, children, span)
        # The canary's own pods are no concern yet, and its queries have no answer.
        pods = {status.stable.revision: question.pods[status.stable.revision]}
        question = replace(question, pods=pods, queries={}, copied_to="")
        try:
            stable = (await self._metrics.count(question)).counts.get(status.stable.revision)
        except MetricsUnavailable as error:
            return Judged(unjudged(Verdict.ERROR, str(error), memory, spec.analysis), before)
        if stable is None:
            reason = "Prometheus has no requests of the stable revision"
            return Judged(unjudged(Verdict.NO_DATA, reason, memory, spec.analysis), before)
        judgement = await self._bench.judge(lesson(stable, memory, spec.analysis))
        return Judged(judgement, until, stable.total / (until - span.since).total_seconds())

    def _until(self, release: Release, now: datetime) -> datetime:
        """The same for all releases with the same interval, so that one set of queries serves them."""
        interval = parse_duration(release.spec.rollout.interval)
        return datetime.fromtimestamp(tick_before(now, interval), UTC) - self._lag

    def _span(self, release: Release, now: datetime, step_started: datetime) -> _Span:
        analysis = release.status.analysis
        until = self._until(release, now)
        since = max((analysis.judged_through if analysis else None) or step_started - self._lag, until - _LONGEST)
        # The baseline of a count is a scrape at or before its beginning.
        single = since >= step_started + self._lag / 2
        return _Span(since, until, fresh=until > step_started, single_weight=single)

    def _question(self, release: Release, children: Children, span: _Span) -> Question:
        status, interval = release.status, parse_duration(release.spec.rollout.interval)
        revisions = [ref.revision for ref in (status.canary, status.stable) if ref]
        copied = any(step.shadow for step in release.spec.rollout.steps)
        words = {
            "$namespace": release.namespace,
            "$release": release.name,
            "$canary": status.canary.revision if status.canary else "",
            "$stable": status.stable.revision if status.stable else "",
        }
        return Question(
            namespace=release.namespace,
            release=release.name,
            pods={revision: _must_be_scraped(children, revision, span.until - self._lag) for revision in revisions},
            since=span.since,
            until=span.until,
            again=span.until + timedelta(seconds=interval),
            queries={check.name: _filled(check.query, words) for check in release.spec.analysis.checks.custom},
            copied_to=status.canary.revision if status.canary and copied else "",
        )

    def _interval(self, release: Release, answer: Answer, span: _Span, *, shadow: bool) -> Interval:
        """With `shadow`, the canary is judged by copies of requests; labels for what was copied count in any step."""
        status, copies = release.status, answer.copies
        assert status.canary is not None and status.stable is not None, "asked for by name"  # noqa: S101, PT018 - an invariant of `judge`
        canary = answer.counts.get(status.canary.revision)
        if shadow and canary and copies:
            canary = replace(copies.counts, pods=canary.pods, features=canary.features)
        return Interval(
            canary=canary,
            stable=answer.counts.get(status.stable.revision),
            weight=status.rollout.confirmed_weight / 100 if span.single_weight and not shadow else None,
            custom=answer.custom,
            paired=copies.labels[1:3] if copies else None,
        )


def _shadowed(spec: ReleaseSpec, index: int) -> bool:
    """Is this the step, counted from 1, in which the canary gets copies?"""
    return index > 0 and steps_of(spec)[index - 1].shadow is not None


def _reported(release: Release, judged: Judged, copies: Copies | None = None, *, shadow: bool = False) -> Judged:
    """With what copies told of both versions: how often they agree, and whether there are any in a step of them.

    What was told before is kept when nothing is new. Without a copy nothing goes on, whatever is known from elsewhere.
    """
    told = {check.name: check for check in (release.status.analysis.checks if release.status.analysis else ())}
    judgement = judged.judgement
    arrivals, agreements = [], []
    if shadow:
        so_far = told[arrived.NAME].requests if arrived.NAME in told else 0
        arrivals.append(arrived.judge_copies(copies, so_far))
    agreed = told.get(agreement.NAME)
    if agreed or (copies and copies.same + copies.different):
        before = (agreed.canary or 0.0, agreed.requests) if agreed else (0.0, 0)
        agreements.append(agreement.report_agreement(copies or Copies(RequestCounts()), before))
    verdict = combine([judgement.verdict, *(result.verdict for result in arrivals)])
    results = (*arrivals, *judgement.results, *agreements)
    return replace(judged, judgement=replace(judgement, verdict=verdict, results=results))


def _memory(release: Release) -> Memory:
    """The evidence so far."""
    return read(release.status.analysis.memory) if release.status.analysis else {}


def _must_be_scraped(children: Children, revision: str, by: datetime) -> tuple[str, ...]:
    """The revision's pods that were ready at that moment and still are."""
    return tuple(
        pod["metadata"]["name"]
        for pod in children.pods
        if (pod["metadata"].get("labels") or {}).get(names.LABEL_REVISION) == revision
        and "deletionTimestamp" not in pod["metadata"]
        and (since := ready_since(pod)) is not None
        and since <= by
    )


def _filled(query: str, words: Mapping[str, str]) -> str:
    """The query with `$canary`, `$stable`, `$release` and `$namespace` in place; a lone `$` is PromQL's own."""
    for word, value in words.items():
        query = query.replace(word, value)
    return query


def _rate(interval: Interval, span: _Span, *, shadow: bool) -> float:
    """Requests a second of both revisions together. Copies are none."""
    both: tuple[RequestCounts | None, ...] = (None if shadow else interval.canary, interval.stable)
    return sum(counts.total for counts in both if counts) / (span.until - span.since).total_seconds()
