"""How long our service takes from its start to the first 200 of /readyz."""

import http.client
import time
from http import HTTPStatus
from typing import Final

from bench.inference.cases import Case
from bench.inference.measure import Measurement
from bench.inference.serving import ServingError, request

_LONGEST_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.005


def seconds_to_ready(measurement: Measurement, case: Case) -> float:
    """Start the case's server with its stores already running, and stop it again. Raises ServingError."""
    with measurement.start_server(case) as (server, _):
        while not _ready(server.sandbox.ports[0]):
            server.check_alive()
            if server.age > _LONGEST_SECONDS:
                raise ServingError(f"{server.spec.name} is not ready after {_LONGEST_SECONDS} s")
            time.sleep(_POLL_SECONDS)
        return server.age


def _ready(port: int) -> bool:
    try:
        return request(port, "GET", "/readyz")[0] == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
