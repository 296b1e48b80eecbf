"""Waits for asynchronous effects."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until `condition()` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds} s: {condition}"
        time.sleep(0.02)
