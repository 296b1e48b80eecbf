"""VictoriaLogs: a server for tests, and queries to any server."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from support.servers.process import ServerProcess, free_port
from support.servers.tools import component

Row = dict[str, str]
_POLL_SECONDS = 0.2


class VictoriaLogs:
    """The server process and its address. The methods of `server` inject faults."""

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


def query_logs(url: str, query: str) -> list[Row]:
    """The rows of a LogsQL query, in the server's order; HTTPError for an invalid query."""
    form = urllib.parse.urlencode({"query": query}).encode()
    with urllib.request.urlopen(f"{url}/select/logsql/query", data=form, timeout=20) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def wait_for_rows(url: str, query: str, count: int = 1, seconds: float = 30) -> list[Row]:
    """Polls until there are so many rows; fails with the rows that there are."""
    deadline = time.monotonic() + seconds
    while len(rows := query_logs(url, query)) < count:
        assert time.monotonic() < deadline, f"{len(rows)} of {count} rows after {seconds} s for {query}: {rows[:20]}"
        time.sleep(_POLL_SECONDS)
    return rows
