"""VictoriaLogs: a server of the tests' own, and questions to any."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from integration.harness.process import ServerProcess, free_port
from integration.harness.tools import component

Row = dict[str, str]
_POLL_SECONDS = 0.2


class VictoriaLogs:
    """The server process and its address. The methods of `server` make its faults."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.otlp = f"{self.url}/insert/opentelemetry"
        self.server = ServerProcess(
            [
                component("victorialogs"),
                f"-httpListenAddr={self.url.removeprefix('http://')}",
                f"-storageDataPath={folder / 'data'}",
                "-memory.allowedBytes=64MiB",
            ],
            folder / "victorialogs.log",
            ready=self._answers,
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False


def ask(url: str, query: str) -> list[Row]:
    """The answer to a LogsQL query, in the order in which it is given; HTTPError says that the query is none."""
    form = urllib.parse.urlencode({"query": query}).encode()
    with urllib.request.urlopen(f"{url}/select/logsql/query", data=form, timeout=20) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def await_rows(url: str, query: str, count: int = 1, seconds: float = 30) -> list[Row]:
    """Asks until there are so many rows; fails with those that there are."""
    deadline = time.monotonic() + seconds
    while len(rows := ask(url, query)) < count:
        assert time.monotonic() < deadline, f"{len(rows)} of {count} rows after {seconds} s for {query}: {rows[:20]}"
        time.sleep(_POLL_SECONDS)
    return rows
