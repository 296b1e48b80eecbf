"""A Prometheus 3 of the tests' own, with the scrape jobs that a test gives it."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from integration.harness.process import ServerProcess, free_port
from integration.harness.tools import component


class Prometheus:
    """The server process and its address. The methods of `server` make its faults."""

    def __init__(self, folder: Path, scrape_configs: Sequence[Mapping[str, Any]], scrape_interval: str = "1s") -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        configuration = folder / "prometheus.yml"
        # JSON is YAML, so no library has to be trusted with the quoting.
        configuration.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval},
                    "scrape_configs": list(scrape_configs),
                }
            )
        )
        self.server = ServerProcess(
            [
                component("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            folder / "log",
            ready=self._answers,
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
