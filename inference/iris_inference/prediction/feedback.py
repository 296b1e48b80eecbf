"""Feedback: true labels for earlier predictions."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Protocol

from iris_inference.logs import fields
from iris_inference.prediction.mirror import RequestMirror
from iris_inference.recording.record import StoreRefusedError, StoreUnavailableError

log = logging.getLogger(__name__)

_THREADS: Final = 2
# While the database hangs, further requests fail at once instead of joining a queue that does not move.
_MAX_WAITING: Final = 32


class FeedbackState(StrEnum):
    """The result of storing a true label."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    UNKNOWN_PREDICTION = "unknown_prediction"


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """The result of storing a true label, with the predicted label and its revision when the prediction is known."""

    state: FeedbackState
    predicted_label: str = ""
    revision: str = ""


class FeedbackError(Exception):
    """A true label was not accepted; the message says why."""


class InvalidLabelError(FeedbackError):
    """The label is none of the model's classes."""


class UnknownPredictionError(FeedbackError):
    """No such prediction is recorded."""


class ContradictingFeedbackError(FeedbackError):
    """Another label is known for the same prediction."""


class FeedbackUnavailableError(FeedbackError):
    """Labels cannot be stored now; trying again later makes sense."""


class FeedbackCounts(Protocol):
    """Counts true labels."""

    def feedback(self, outcome: str) -> None:
        """A true label came back for a prediction of this revision."""
        ...

    def feedback_relayed(self, made_by: str, outcome: str) -> None:
        """A true label came back for a prediction of another revision."""
        ...


class FeedbackStore(Protocol):
    """Stores true labels."""

    def add_feedback(self, request_id: str, instance: int, label: str) -> FeedbackResult:
        """Store one true label. Raises StoreUnavailableError or StoreRefusedError."""
        ...

    def canary_label(self, request_id: str, instance: int, canary: str) -> str | None:
        """The label that a canary predicted for the mirrored request. Raises like `add_feedback`."""
        ...


class FeedbackService:
    """Stores true labels and counts whether the predictions were correct."""

    def __init__(
        self,
        store: FeedbackStore | None,
        metrics: FeedbackCounts,
        revision: str,
        classes: Sequence[str],
        mirror: RequestMirror,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._revision = revision
        self._classes = tuple(classes)
        self._mirror = mirror
        self._threads = ThreadPoolExecutor(_THREADS, "feedback")
        self._waiting = 0
        self._comparisons: set[asyncio.Task[None]] = set()

    async def add(self, request_id: str, instance: int, label: str) -> Literal["correct", "incorrect"]:
        """Store the true label of one predicted instance and return whether the prediction was correct.

        Raises InvalidLabelError, UnknownPredictionError, ContradictingFeedbackError or FeedbackUnavailableError.
        """
        if label not in self._classes:
            raise InvalidLabelError(f"must be one of {', '.join(self._classes)}")
        result = await self._store_label(request_id, instance, label)
        if result.state is FeedbackState.UNKNOWN_PREDICTION:
            raise UnknownPredictionError(
                f"no prediction is recorded for request {request_id}, instance {instance}; "
                "one that was just made is recorded within a second",
            )
        if result.state is FeedbackState.CONTRADICTED:
            raise ContradictingFeedbackError("another label is already known for this prediction")
        outcome: Literal["correct", "incorrect"] = "correct" if label == result.predicted_label else "incorrect"
        # A label counts once, for the revision that made the prediction, although the request may reach any pod.
        accepted = result.state is FeedbackState.ACCEPTED
        if accepted and result.revision != self._revision:
            self._metrics.feedback_relayed(result.revision, outcome)
        elif accepted:
            self._metrics.feedback(outcome)
            if self._mirror.canary:
                self._schedule_comparison(request_id, instance, label, stable_correct=outcome == "correct")
        return outcome

    def close(self) -> None:
        """Stop the threads, each after its current statement."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _schedule_comparison(self, request_id: str, instance: int, label: str, *, stable_correct: bool) -> None:
        """Compare the label with the canary's prediction in the background; skipped while too many are waiting."""
        if self._store is not None and len(self._comparisons) < _MAX_WAITING:
            work = self._compare_with_canary(self._store, request_id, instance, label, stable_correct=stable_correct)
            task = asyncio.get_running_loop().create_task(work)
            self._comparisons.add(task)
            task.add_done_callback(self._comparisons.discard)

    async def _compare_with_canary(
        self, store: FeedbackStore, request_id: str, instance: int, label: str, *, stable_correct: bool
    ) -> None:
        canary, loop = self._mirror.canary, asyncio.get_running_loop()
        try:
            canary_label = await loop.run_in_executor(self._threads, store.canary_label, request_id, instance, canary)
        except (StoreUnavailableError, StoreRefusedError) as error:
            log.warning("a true label was not compared with the canary's prediction", extra=fields(error=str(error)))
            return
        if canary_label is not None:
            self._mirror.record_label(canary, stable_correct=stable_correct, canary_correct=canary_label == label)

    async def _store_label(self, request_id: str, instance: int, label: str) -> FeedbackResult:
        if self._store is None:
            raise FeedbackUnavailableError("no database is configured")
        if self._waiting >= _MAX_WAITING:
            raise FeedbackUnavailableError("too many requests wait for the database")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._store.add_feedback, request_id, instance, label
            )
        except (StoreUnavailableError, StoreRefusedError) as error:
            raise FeedbackUnavailableError("the database does not answer") from error
        finally:
            self._waiting -= 1
