"""The interface through which routes mirror answered requests to a canary."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Instance


class RequestMirror(Protocol):
    """Mirrors answered requests. `enabled` is read for each prediction, so it is an attribute, not a property."""

    enabled: bool

    @property
    def canary(self) -> str:
        """The canary's revision, also while nothing is mirrored to it; empty: there is no canary."""
        ...

    def enqueue(
        self, state: Mapping[str, Any], instances: Sequence[Instance], predictions: Sequence[Prediction] | None
    ) -> None:
        """Mirror an answered request. `predictions` None: the model failed. Never waits."""
        ...

    def record_label(self, canary: str, *, stable_correct: bool, canary_correct: bool) -> None:
        """Count a true label for an instance that both versions predicted."""
        ...


class NoMirror:
    """Used where no requests are mirrored."""

    enabled: bool = False
    canary: Final = ""

    def enqueue(
        self, state: Mapping[str, Any], instances: Sequence[Instance], predictions: Sequence[Prediction] | None
    ) -> None:
        """Nothing is mirrored."""

    def record_label(self, canary: str, *, stable_correct: bool, canary_correct: bool) -> None:
        """Nothing is compared."""
