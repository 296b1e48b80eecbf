"""Start the operator: settings, logs, handlers, then Kopf's loop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Any, cast

import kopf

from iris_operator import handlers
from iris_operator.application import Application
from iris_operator.logs import configure_logging
from iris_operator.metrics.server import OperatorMetrics
from iris_operator.settings import InvalidSettingError, from_environment


def main() -> int:
    """Run until a signal comes. Exit code 2: a setting is invalid."""
    try:
        settings = from_environment()
    except InvalidSettingError as error:
        print(f"iris-operator cannot start: {error}", file=sys.stderr)  # noqa: T201 - before logging is configured
        return 2
    configure_logging(settings.log_level)
    metrics = OperatorMetrics()
    while asyncio.run(_run(Application(settings, metrics))):
        pass
    return 0


async def _run(app: Application) -> bool:
    """Kopf's loop until a signal comes; True when it ended because its watches must start again.

    Its end begins with handing over to another operator: that does not wait for Kopf's own.
    """
    registry = kopf.OperatorRegistry()
    handlers.register(registry, app)
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        namespaces=app.settings.namespaces,
        standalone=True,
        # Kopf would look up the user's name, which a numeric user of a container does not have.
        identity=cast("Any", socket.gethostname()),
        stop_flag=app.ended,
    )
    # In place of those that Kopf has just registered.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, app)
    await kopf.run_tasks(tasks, ignored=before)
    return app.starts_again


def _stop(app: Application) -> None:
    retiring = asyncio.ensure_future(app.retire())
    retiring.add_done_callback(lambda _done: app.ended.set())
