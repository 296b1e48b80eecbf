"""A Prometheus 3 server for tests, with the test's scrape jobs."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.servers.process import ServerProcess, free_port
from support.servers.tools import component


class Prometheus:
    """The server process and its address. The methods of `server` inject faults."""

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
                # By default it looks at its targets for the first time after 5 s.
                "--scrape.discovery-reload-interval=100ms",
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
