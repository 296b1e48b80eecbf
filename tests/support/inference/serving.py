"""The whole service on real ports, in a thread of the test run: its start costs no import."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from iris_inference.api.schemas import FEATURES
from iris_inference.logs import LogWriter
from iris_inference.main import Application
from iris_inference.metrics.registry import Metrics
from iris_inference.model.artifact import read_manifest
from iris_inference.settings import Settings
from support.inference.api import REVISION, Api
from support.servers.process import free_port

Serve = Callable[..., Api]


@contextmanager
def serving(model: Path, **settings: Any) -> Iterator[Api]:
    """Serves the model in `model` until the block ends; `settings` are fields of Settings. Without them, everybody."""
    api = Api(free_port(), metrics_port := free_port())
    configured = Settings(
        model_dir=model,
        host="127.0.0.1",
        port=api.port,
        metrics_port=metrics_port,
        **{"revision": REVISION, "auth": "off", **settings},
    )
    manifest = read_manifest(model)
    metrics = Metrics(manifest, FEATURES)
    application = Application(configured, manifest, metrics, LogWriter(sys.stdout.buffer))
    thread = threading.Thread(target=application.run)
    with metrics.serving(configured.host, configured.metrics_port):
        thread.start()
        try:
            _await_ready(api, thread)
            yield api
        finally:
            application.stop()
            thread.join(30)
            api.client.close()
    assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves models for one test; called with a model's folder and with settings, returns once it is ready."""
    with ExitStack() as running:
        yield lambda model, **settings: running.enter_context(serving(model, **settings))


def _await_ready(api: Api, thread: threading.Thread) -> None:
    # With keys to read, it is as fast as the database is.
    deadline = time.monotonic() + 60
    while not api.ready():
        assert thread.is_alive(), "the service ended before it was ready"
        assert time.monotonic() < deadline, "the service is not ready after 60 s"
        time.sleep(0.01)
