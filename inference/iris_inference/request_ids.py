"""Names of requests: 128 random bits as the client or, else, this module gives them."""

import os
import re
from typing import Final

from iris_inference.schemas import REQUEST_ID_PATTERN

_SAFE: Final = re.compile(REQUEST_ID_PATTERN.encode())
_DIGITS: Final = 32
# A call of the system costs more than all else about an id, so it is asked for many at once.
_AT_ONCE: Final = 256


class RequestIds:
    """Gives ids to requests. Belongs to one event loop."""

    def __init__(self) -> None:
        self._digits = ""
        self._at = 0

    def of(self, given: bytes | None) -> str:
        """The client's own id when it is harmless, a new one otherwise: it ends in logs and in the database."""
        if given is not None and _SAFE.fullmatch(given):
            return given.decode()
        if self._at == len(self._digits):
            self._digits = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
            self._at = 0
        start = self._at
        self._at = start + _DIGITS
        return self._digits[start : self._at]
