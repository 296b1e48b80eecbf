"""The prediction service as a process of its own, as in a pod."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.inference.api import REVISION, Api
from support.servers.process import ServerProcess, free_port

SOURCES = Path(__file__).parents[3] / "inference"


class Service(Api):
    """One process, its API and its log."""

    def __init__(self, model: Path, folder: Path, *, unready: bool = False, **variables: str) -> None:
        super().__init__(free_port(), metrics_port := free_port())
        self._log = folder / "log"
        self.home = folder / "home"
        self.home.mkdir()
        # As bare as in a pod: libraries behave differently where they see a developer's or a CI's variables.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(SOURCES),
            "PYTHONWARNINGS": "error",
            "IRIS_MODEL_DIR": str(model),
            "IRIS_HOST": "127.0.0.1",
            "IRIS_PORT": str(self.port),
            "IRIS_METRICS_PORT": str(metrics_port),
            "IRIS_REVISION": REVISION,
            "IRIS_DRAIN_SECONDS": "0",
            "IRIS_AUTH": "off",
            **variables,
        }
        self.process = ServerProcess(
            [sys.executable, "-m", "iris_inference"],
            self._log,
            ready=self.alive if unready else self.ready,
            environment=environment,
        )

    def log(self) -> list[dict[str, Any]]:
        """The log so far; a line that is no JSON object fails the test here."""
        return [dict(json.loads(line)) for line in self._log.read_text().splitlines()]

    def close(self) -> None:
        self.client.close()
        self.process.stop()


StartService = Callable[..., Service]


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Starts services; called with a model's folder and with environment variables, returns once it is ready.

    With `unready`, once it is alive.
    """
    started: list[Service] = []

    def start(model: Path, *, unready: bool = False, **variables: str) -> Service:
        folder = tmp_path / f"service-{len(started)}"
        folder.mkdir()
        service = Service(model, folder, unready=unready, **variables)
        started.append(service)
        service.process.start()
        return service

    yield start
    for service in started:
        service.close()
