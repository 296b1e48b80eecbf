"""True labels that come back for predictions made earlier."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Literal, Protocol

from iris_inference.logs import fields
from iris_inference.problems import ProblemError
from iris_inference.records import StoreRefusedError, StoreUnavailableError
from iris_inference.shadow.mirroring import Mirroring
from iris_inference.telemetry import Metrics

log = logging.getLogger(__name__)

_THREADS: Final = 2
# While the database hangs, callers beyond these are told so at once instead of joining a queue that does not move.
_MAX_WAITING: Final = 32


class FeedbackState(StrEnum):
    """What became of a true label."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    UNKNOWN_PREDICTION = "unknown_prediction"


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What became of a true label, and the prediction that it belongs to when it is known."""

    state: FeedbackState
    predicted_label: str = ""
    revision: str = ""


class FeedbackStore(Protocol):
    """Where true labels are kept."""

    def add_feedback(self, request_id: str, instance: int, label: str) -> FeedbackResult:
        """Keep one true label. Raises StoreUnavailableError or StoreRefusedError."""
        ...

    def label_of_copy(self, request_id: str, instance: int, canary: str) -> str | None:
        """What a revision that is tried said of a copy. Raises StoreUnavailableError or StoreRefusedError."""
        ...


class FeedbackService:
    """Keeps true labels and counts whether the model was right."""

    def __init__(
        self, store: FeedbackStore | None, metrics: Metrics, revision: str, classes: Sequence[str], mirror: Mirroring
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._revision = revision
        self._classes = tuple(classes)
        self._mirror = mirror
        self._threads = ThreadPoolExecutor(_THREADS, "feedback")
        self._waiting = 0
        self._comparing: set[asyncio.Task[None]] = set()

    async def add(self, request_id: str, instance: int, label: str) -> Literal["correct", "incorrect"]:
        """Keep the true label of one predicted flower and say whether the prediction was right.

        Raises ProblemError: 404 unknown prediction, 409 another label is known, 422 no such class, 503 no database.
        """
        if label not in self._classes:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"label: must be one of {', '.join(self._classes)}"
            )
        result = await self._ask(request_id, instance, label)
        if result.state is FeedbackState.UNKNOWN_PREDICTION:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                "unknown-prediction",
                f"no prediction is recorded for request {request_id}, instance {instance}; "
                "one that was just made is recorded within a second",
            )
        if result.state is FeedbackState.CONTRADICTED:
            raise ProblemError(
                HTTPStatus.CONFLICT, "contradicting-feedback", "another label is already known for this prediction"
            )
        outcome: Literal["correct", "incorrect"] = "correct" if label == result.predicted_label else "incorrect"
        # A label counts once, and for the revision that made the prediction: it is no news about another one, though
        # the request may reach any pod.
        accepted = result.state is FeedbackState.ACCEPTED
        if accepted and result.revision != self._revision:
            self._metrics.feedback_relayed(result.revision, outcome)
        elif accepted:
            self._metrics.feedback(outcome)
            if self._mirror.canary:
                self._compare_behind(request_id, instance, label, stable_right=outcome == "correct")
        return outcome

    def close(self) -> None:
        """End the threads; those in the middle of a statement end after it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compare_behind(self, request_id: str, instance: int, label: str, *, stable_right: bool) -> None:
        """Have the label held against the copy, too. Nobody waits for it, and while too many do it is not done."""
        if self._store is not None and len(self._comparing) < _MAX_WAITING:
            work = self._compare(self._store, request_id, instance, label, stable_right=stable_right)
            task = asyncio.get_running_loop().create_task(work)
            self._comparing.add(task)
            task.add_done_callback(self._comparing.discard)

    async def _compare(
        self, store: FeedbackStore, request_id: str, instance: int, label: str, *, stable_right: bool
    ) -> None:
        canary, loop = self._mirror.canary, asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, store.label_of_copy, request_id, instance, canary)
        except (StoreUnavailableError, StoreRefusedError) as error:
            log.warning("a true label was not compared with the copy", extra=fields(error=str(error)))
            return
        if found is not None:
            self._mirror.labelled(canary, stable_right=stable_right, canary_right=found == label)

    async def _ask(self, request_id: str, instance: int, label: str) -> FeedbackResult:
        if self._store is None:
            raise _unavailable("no database is configured")
        if self._waiting >= _MAX_WAITING:
            raise _unavailable("too many requests wait for the database")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._store.add_feedback, request_id, instance, label
            )
        except (StoreUnavailableError, StoreRefusedError) as error:
            raise _unavailable("the database does not answer") from error
        finally:
            self._waiting -= 1


def _unavailable(why: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "feedback-unavailable",
        f"feedback cannot be kept now: {why}; send it again later",
        headers={"Retry-After": "5"},
    )
