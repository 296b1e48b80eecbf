"""What this process is doing: one word that readiness, logs and connection handling all follow."""

from enum import StrEnum


class Phase(StrEnum):
    """The stages of a process's life, in order."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """Moves forward only: a draining process is never ready again, even if its model finishes loading late."""

    def __init__(self) -> None:
        self._phase = Phase.LOADING
        # Whether the process is about to end; asked at each request, so no property.
        self.draining = False

    @property
    def phase(self) -> Phase:
        """The current stage."""
        return self._phase

    @property
    def ready(self) -> bool:
        """Whether new work is welcome."""
        return self._phase is Phase.READY

    def loaded(self) -> None:
        """The model is loaded and warm."""
        if self._phase is Phase.LOADING:
            self._phase = Phase.READY

    def drain(self) -> None:
        """The process was asked to end."""
        self._phase = Phase.DRAINING
        self.draining = True
