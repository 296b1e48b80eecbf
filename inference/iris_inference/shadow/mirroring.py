"""What the routes know of the mirror: they hand over what they answered, and go on."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from iris_inference.predictions import Prediction
from iris_inference.runtime import Instance


class Mirroring(Protocol):
    """Takes the copies of what was answered. `on` is asked at each prediction, so it is no property."""

    on: bool

    @property
    def canary(self) -> str:
        """The revision that is tried, also when it gets nothing now; empty: none is."""
        ...

    def offer(
        self, state: Mapping[str, Any], instances: Sequence[Instance], predictions: Sequence[Prediction] | None
    ) -> None:
        """A request was answered; None: it was not, because the model failed. Never waits."""
        ...

    def labelled(self, canary: str, *, stable_right: bool, canary_right: bool) -> None:
        """A true label came for a flower that both versions predicted."""
        ...


class NoMirror:
    """Stands in where no requests are copied."""

    on: bool = False
    canary: Final = ""

    def offer(
        self, state: Mapping[str, Any], instances: Sequence[Instance], predictions: Sequence[Prediction] | None
    ) -> None:
        """Nothing is copied."""

    def labelled(self, canary: str, *, stable_right: bool, canary_right: bool) -> None:
        """Nothing is compared."""
