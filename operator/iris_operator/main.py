"""Start the operator: settings, logs, handlers, then Kopf's loop."""

from __future__ import annotations

import socket
import sys
from typing import Any, cast

import kopf

from iris_operator import handlers
from iris_operator.application import Application
from iris_operator.logs import configure_logging
from iris_operator.settings import InvalidSettingError, from_environment


def main() -> int:
    """Run until a signal comes. Exit code 2: a setting is invalid."""
    try:
        settings = from_environment()
    except InvalidSettingError as error:
        print(f"iris-operator cannot start: {error}", file=sys.stderr)  # noqa: T201 - before logging is configured
        return 2
    configure_logging(settings.log_level)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, Application(settings))
    kopf.run(
        registry=registry,
        namespaces=settings.namespaces,
        standalone=True,
        # Kopf would look up the user's name, which a numeric user of a container does not have.
        identity=cast("Any", socket.gethostname()),
        liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
    )
    return 0
