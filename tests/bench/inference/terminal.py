"""What both programs need of the terminal and of the machine that they run on."""

import os
import signal
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.inference.contestant import LOAD_CPU, SERVER_CPU
from iris_local.paths import CHECKOUT

PASSED: Final = 0
MISSED: Final = 1
BROKEN: Final = 2
ARTIFACTS: Final[Path] = CHECKOUT / "artifacts"
# The tables need so many columns; a file has as many as one likes.
_COLUMNS: Final = 110


class CoresError(Exception):
    """This machine, or what we may use of it, has too few cores."""


def console() -> Console:
    """Where everything is told."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=_COLUMNS)


def keep_to_load_core() -> None:
    """Move this process to the core of the load, and what it starts with it; let SIGTERM end it as Ctrl-C does.

    Raises CoresError.
    """
    # Otherwise it would leave its files behind, of which the database's may be large.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not {SERVER_CPU, LOAD_CPU} <= os.sched_getaffinity(0):
        raise CoresError(f"cores {SERVER_CPU} and {LOAD_CPU} are needed, one for the server and one for the load")
    os.sched_setaffinity(0, {LOAD_CPU})


class Teller:
    """Prints a line with the time since the start before it."""

    def __init__(self, to: Console) -> None:
        self._console = to
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line."""
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        self._console.print(f"{minutes:3}m{seconds:02}s  {text}", markup=False)
