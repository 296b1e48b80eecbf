"""The phase of this process, which readiness, logs and connection handling follow."""

from enum import StrEnum


class Phase(StrEnum):
    """The phases of a process, in order."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """Moves forward only: a draining process is never ready again, even if its model finishes loading late."""

    def __init__(self) -> None:
        self._phase = Phase.LOADING
        # Whether the process is about to stop; read at each request, so no property.
        self.draining = False

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase

    @property
    def ready(self) -> bool:
        """Whether new requests are accepted."""
        return self._phase is Phase.READY

    def loaded(self) -> None:
        """The model is loaded and warm."""
        if self._phase is Phase.LOADING:
            self._phase = Phase.READY

    def drain(self) -> None:
        """The process was told to stop."""
        self._phase = Phase.DRAINING
        self.draining = True
