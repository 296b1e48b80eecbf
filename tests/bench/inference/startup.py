"""How long our service takes from its start to the first 200 of /readyz."""

import http.client
import time
from http import HTTPStatus
from typing import Final

from bench.inference.cases import Case
from bench.inference.measure import Bench
from bench.inference.serving import ServingError, request

_LONGEST_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.005


def seconds_to_ready(bench: Bench, case: Case) -> float:
    """Start the case's server, its stores being there, and end it again. Raises ServingError."""
    with bench.started(case) as (server, _):
        while not _ready(server.place.ports[0]):
            server.check_alive()
            if server.age > _LONGEST_SECONDS:
                raise ServingError(f"{server.contestant.name} is not ready after {_LONGEST_SECONDS} s")
            time.sleep(_POLL_SECONDS)
        return server.age


def _ready(port: int) -> bool:
    try:
        return request(port, "GET", "/readyz")[0] == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
