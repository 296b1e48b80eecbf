"""Request ids: the client's own, or 128 random bits."""

import os
import re
from typing import Final

from iris_inference.api.schemas import REQUEST_ID_PATTERN

_SAFE: Final = re.compile(REQUEST_ID_PATTERN.encode())
_ID_LENGTH: Final = 32
# A system call costs more than everything else about an id, so each one gets the bits of many.
_BATCH_SIZE: Final = 256


class RequestIds:
    """Assigns ids to requests. Belongs to one event loop."""

    def __init__(self) -> None:
        self._digits = ""
        self._offset = 0

    def choose(self, requested: bytes | None) -> str:
        """The client's own id when it is safe, a new one otherwise: it gets into logs and the database."""
        if requested is not None and _SAFE.fullmatch(requested):
            return requested.decode()
        if self._offset == len(self._digits):
            self._digits = os.urandom(_BATCH_SIZE * _ID_LENGTH // 2).hex()
            self._offset = 0
        start = self._offset
        self._offset = start + _ID_LENGTH
        return self._digits[start : self._offset]
