"""Waiting for what happens behind an answer."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], seconds: float = 15) -> None:
    """Returns once `holds` does; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not after {seconds} s: {holds}"
        time.sleep(0.02)
