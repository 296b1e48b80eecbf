"""Start the operator: settings, logs, handlers, then Kopf's loop."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any, cast

import kopf

from iris_operator import handlers
from iris_operator.application import Application
from iris_operator.logs import configure_logging
from iris_operator.metrics.server import OperatorMetrics
from iris_operator.settings import InvalidSettingError, from_environment

# What makes a watch fail, as a right that is missing, lasts: not to ask for it without a pause.
_RESTART_SECONDS = 2.0


def main() -> int:
    """Run until a signal comes. Exit code 2: a setting is invalid."""
    try:
        settings = from_environment()
    except InvalidSettingError as error:
        print(f"iris-operator cannot start: {error}", file=sys.stderr)  # noqa: T201 - before logging is configured
        return 2
    configure_logging(settings.log_level)
    metrics = OperatorMetrics()
    while _run(Application(settings, metrics)):
        time.sleep(_RESTART_SECONDS)
    return 0


def _run(app: Application) -> bool:
    """Run Kopf until a signal comes; True when it ended because its watches must start again."""
    registry = kopf.OperatorRegistry()
    handlers.register(registry, app)
    kopf.run(
        registry=registry,
        namespaces=app.settings.namespaces,
        standalone=True,
        # Kopf would look up the user's name, which a numeric user of a container does not have.
        identity=cast("Any", socket.gethostname()),
        liveness_endpoint=f"http://0.0.0.0:{app.settings.health_port}/healthz",
        stop_flag=app.restart,
    )
    return app.restart.is_set()
