"""Judgements are made beside the reconciles: a reconcile takes the newest one, and never waits for Prometheus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import Analysis
from iris_operator.api.spec import Rollout
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import AnalysisResult

log = logging.getLogger(__name__)

# A judgement that no reconcile could use for so long is made again: nothing is promoted by an old one.
_MAX_AGE = timedelta(seconds=10)

Key = tuple[str, str]
"""(namespace, release)."""
Judge = Callable[[], Awaitable[AnalysisResult]]


class Kind(StrEnum):
    """What is judged: the canary, what stable alone is like, or the version that was promoted last."""

    CANARY = "canary"
    BASELINE = "baseline"
    WATCH = "watch"


@dataclass(frozen=True)
class Basis:
    """What a judgement was made for: it is no judgement of any other state, and goes on from no other checkpoint."""

    kind: Kind
    uid: str
    analysis: Analysis
    rollout: Rollout
    revisions: tuple[str, ...]
    step_index: int
    step_started_at: datetime | None
    memory: str
    judged_at: datetime | None
    judged_through: datetime | None

    @classmethod
    def of(cls, kind: Kind, release: Release) -> Basis:
        """The basis that the stored status and spec are."""
        status = release.status
        newest = status.watch if kind is Kind.WATCH else status.analysis
        return cls(
            kind,
            release.uid,
            release.spec.analysis,
            release.spec.rollout,
            tuple(ref.revision if ref else "" for ref in (status.stable, status.canary, status.control)),
            status.step.index,
            status.rollout.step_started_at,
            newest.memory if newest else "",
            newest.judged_at if newest else None,
            newest.judged_through if newest else None,
        )


class JudgementFailed(Exception):
    """A judgement could not be made, for a reason that is no missing metric: a fault of the operator."""


class Judgements(Protocol):
    """Makes judgements, one at a time for each release."""

    async def newest(self, key: Key, basis: Basis, judge: Judge) -> AnalysisResult | None:
        """The judgement for this basis. None: there is none yet; it is being made, and the release reconciled then.

        The same one is given until the basis changes, so that a reconcile which fails loses nothing.

        Raises:
            JudgementFailed: it was attempted just now, and failed.
        """

    def forget(self, key: Key) -> None:
        """Drop a release that is gone."""


@dataclass(frozen=True)
class _Ended:
    basis: Basis
    outcome: AnalysisResult | Exception
    at: datetime

    def is_usable(self, basis: Basis, now: datetime) -> bool:
        """A failure found is a failure, however old; all else is only the newest state of things for a short time."""
        if self.basis != basis:
            return False
        failed = isinstance(self.outcome, AnalysisResult) and self.outcome.judgement.verdict is Verdict.FAIL
        return failed or timedelta() <= now - self.at <= _MAX_AGE


class BackgroundJudgements:
    """Implements `Judgements` with a task for each release."""

    def __init__(self, wake: Callable[[Key], None], clock: Callable[[], datetime]) -> None:
        """`wake` requests a reconcile of a release."""
        self._wake = wake
        self._clock = clock
        self._running: dict[Key, tuple[Basis, asyncio.Task[None]]] = {}
        self._ended: dict[Key, _Ended] = {}

    async def newest(self, key: Key, basis: Basis, judge: Judge) -> AnalysisResult | None:
        """See `Judgements.newest`."""
        ended = self._ended.get(key)
        if ended is None or not ended.is_usable(basis, self._clock()):
            self._ended.pop(key, None)
            self._start(key, basis, judge)
            return None
        if isinstance(ended.outcome, Exception):
            raise JudgementFailed(f"{type(ended.outcome).__name__}: {ended.outcome}") from ended.outcome
        return ended.outcome

    def forget(self, key: Key) -> None:
        """See `Judgements.forget`."""
        self._ended.pop(key, None)
        if running := self._running.pop(key, None):
            running[1].cancel()

    def _start(self, key: Key, basis: Basis, judge: Judge) -> None:
        running = self._running.get(key)
        if running and running[0] == basis:
            return
        self.forget(key)
        self._running[key] = basis, asyncio.create_task(self._run(key, basis, judge))

    async def _run(self, key: Key, basis: Basis, judge: Judge) -> None:
        outcome: AnalysisResult | Exception
        try:
            outcome = await judge()
        except Exception as error:
            log.exception("a judgement failed", extra={"namespace": key[0], "release": key[1]})
            outcome = error
        self._ended[key] = _Ended(basis, outcome, self._clock())
        self._running.pop(key, None)
        self._wake(key)
