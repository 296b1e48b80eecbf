"""PostgreSQL and Redis for our service, on the load's core: their work is not counted as the service's."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2
from prometheus_client.parser import text_string_to_metric_families

from bench.inference.environments import PYTHONPATH
from bench.inference.serving import request
from iris_inference.metric_names import BACKLOG_RECORDS, CACHE_REQUESTS
from support.servers.postgres import Postgres
from support.servers.redis import Redis

# The scrape interval of the installed Prometheus.
SCRAPE_SECONDS: Final = 5
_ANY_RATE: Final = "1000000"
BACKLOG: Final = BACKLOG_RECORDS
_HITS: Final = f"{CACHE_REQUESTS}|hit|local"
_MISSES: Final = f"{CACHE_REQUESTS}|miss|local"
Samples = Mapping[str, float]


class Stores:
    """One data folder for the whole benchmark; the servers run only while our service does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._postgres = Postgres()
        self._redis = Redis(folder)

    @contextlib.contextmanager
    def running(self) -> Iterator["Database"]:
        """Both servers, an empty database and an empty cache."""
        self._postgres.server.start()
        self._redis.server.start()
        try:
            processes = {"postgres": self._postgres.server.pid, "redis": self._redis.server.pid}
            yield Database(self._postgres.create_database(), self._redis.url, processes)
        finally:
            self._redis.server.stop()
            self._postgres.server.stop()

    def close(self) -> None:
        """Remove the data."""
        self._postgres.close()


@dataclass(frozen=True, slots=True)
class Database:
    """Where one run's records go."""

    url: str
    redis_url: str
    processes: Mapping[str, int]
    """The process ids of the stores."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables for our service."""
        return {"DATABASE_URL": self.url, "REDIS_URL": self.redis_url}

    def create_key(self) -> str:
        """An API key with a rate that is never reached, created with the command line. Raises CalledProcessError."""
        command = [
            sys.executable, "-m", "iris_inference.cli", "keys", "create", "--quiet",
            "--client", "bench", "--create-client", "--scope", "predict",
            "--rate", _ANY_RATE, "--burst", _ANY_RATE,
        ]  # fmt: skip
        variables = {**os.environ, **self.variables, "PYTHONPATH": PYTHONPATH}
        return subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def count_records(self) -> tuple[int, int]:
        """The number of recorded predictions, and of distinct ones: equal unless one was recorded twice."""
        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        try:
            with connection.cursor() as cursor:
                cursor.execute("select count(*), count(distinct (request_id, instance)) from predictions")
                ((rows, different),) = cursor.fetchall()
                return int(rows), int(different)
        finally:
            connection.close()


def scrape(port: int) -> Samples:
    """The service's metrics, as a flat table of names with labels. Raises OSError."""
    _, text = request(port, "GET", "/metrics")
    return {
        sample.name + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


class Scraper:
    """Scrapes the metrics as Prometheus does, which costs the service time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.largest_backlog = 0.0
        """The most records that waited for the database in any scrape."""
        self.hit_share = 0.0
        """The hit rate of the local cache in the block of `running`."""
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Scrape until the block ends."""
        thread = threading.Thread(target=self._scrape, daemon=True)
        before = scrape(self.port)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        after = scrape(self.port)
        hits, misses = (after[name] - before[name] for name in (_HITS, _MISSES))
        self.hit_share = hits / max(hits + misses, 1)

    def _scrape(self) -> None:
        while not self._stop.wait(SCRAPE_SECONDS):
            self.largest_backlog = max(self.largest_backlog, scrape(self.port)[BACKLOG])
