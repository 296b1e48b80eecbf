"""True labels that come back for predictions made earlier."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Literal, Protocol

from iris_inference.problems import ProblemError
from iris_inference.records import StoreRefusedError, StoreUnavailableError
from iris_inference.shadow.mirroring import Mirroring
from iris_inference.telemetry import Metrics

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
    """What became of a true label, and the prediction that it belongs to when it is known.

    `canary_label` is what the revision that is tried said of a copy of the same request, None when it got none.
    """

    state: FeedbackState
    predicted_label: str = ""
    revision: str = ""
    canary_label: str | None = None


class FeedbackStore(Protocol):
    """Where true labels are kept."""

    def add_feedback(self, request_id: str, instance: int, label: str, canary: str) -> FeedbackResult:
        """Keep one true label; `canary` is the revision that is tried.

        Raises StoreUnavailableError or StoreRefusedError.
        """
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

    async def add(self, request_id: str, instance: int, label: str) -> Literal["correct", "incorrect"]:
        """Keep the true label of one predicted flower and say whether the prediction was right.

        Raises ProblemError: 404 unknown prediction, 409 another label is known, 422 no such class, 503 no database.
        """
        if label not in self._classes:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"label: must be one of {', '.join(self._classes)}"
            )
        canary = self._mirror.canary
        result = await self._ask(request_id, instance, label, canary)
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
        # A label counts once, and only for the revision that made the prediction: it is no news about another one,
        # though the request may reach any pod.
        if result.state is FeedbackState.ACCEPTED and result.revision == self._revision:
            self._metrics.feedback(outcome)
            if result.canary_label is not None:
                stable_right, canary_right = outcome == "correct", label == result.canary_label
                self._mirror.labelled(canary, stable_right=stable_right, canary_right=canary_right)
        return outcome

    def close(self) -> None:
        """End the threads; those in the middle of a statement end after it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, request_id: str, instance: int, label: str, canary: str) -> FeedbackResult:
        if self._store is None:
            raise _unavailable("no database is configured")
        if self._waiting >= _MAX_WAITING:
            raise _unavailable("too many requests wait for the database")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._store.add_feedback, request_id, instance, label, canary
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
