"""Terminal output and CPU pinning for both programs."""

import os
import signal
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.inference.server import LOAD_CPU, SERVER_CPU
from iris_local.paths import CHECKOUT

PASSED: Final = 0
MISSED: Final = 1
FAILED: Final = 2
ARTIFACTS: Final[Path] = CHECKOUT / "artifacts"
# The tables need this many columns; the width of a file is not limited.
_COLUMNS: Final = 110


class CoresError(Exception):
    """This machine, or what we may use of it, has too few cores."""


def console() -> Console:
    """The console for all output."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=_COLUMNS)


def pin_to_load_core() -> None:
    """Pin this process and its children to the core of the load; let SIGTERM end it as Ctrl-C does.

    Raises CoresError.
    """
    # Otherwise it would leave its files behind, and the database may be large.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not {SERVER_CPU, LOAD_CPU} <= os.sched_getaffinity(0):
        raise CoresError(f"cores {SERVER_CPU} and {LOAD_CPU} are needed, one for the server and one for the load")
    os.sched_setaffinity(0, {LOAD_CPU})


class TimedLog:
    """Prints a line with the time since the start before it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line."""
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        self._console.print(f"{minutes:3}m{seconds:02}s  {text}", markup=False)
