"""A PostgreSQL server for tests, with a fresh database for each caller."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from support.servers.process import ServerProcess, free_port
from support.servers.tools import debian

_USER = "iris"
_PASSWORD = "integration"
# PostgreSQL refuses root; Debian's package brings this user.
_SYSTEM_USER = "postgres"


class Postgres:
    """The server process and its databases. The methods of `server` inject faults."""

    def __init__(self) -> None:
        # Not pytest's folder: that one is closed to other users, and the server is one.
        self._folder = Path(tempfile.mkdtemp(prefix="iris-postgres-"))
        self.port = free_port()
        self._numbers = itertools.count(1)
        self._as_root = os.geteuid() == 0
        self._initialise()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            # Nothing here has to survive the machine, and a sync costs more than the rest of most tests.
            "fsync": "off",
            "full_page_writes": "off",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.server = ServerProcess(
            [debian("postgres"), "-D", str(self._folder / "data"), *arguments],
            self._folder / "log",
            ready=self._answers,
            user=_SYSTEM_USER if self._as_root else None,
            # SIGTERM would wait for every client to leave first.
            stop_signal=signal.SIGINT,
        )

    def create_database(self) -> str:
        """Makes an empty database and returns its SQLAlchemy URL."""
        name = f"iris_{next(self._numbers)}"
        self._run("createdb", "--host=127.0.0.1", f"--port={self.port}", f"--username={_USER}", name)
        return f"postgresql+psycopg2://{_USER}:{_PASSWORD}@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Ends the server and removes its files."""
        self.server.stop()
        shutil.rmtree(self._folder)

    def _initialise(self) -> None:
        (self._folder / "password").write_text(_PASSWORD)
        if self._as_root:
            for path in (self._folder, self._folder / "password"):
                shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)
        as_server = [debian("setpriv"), f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--clear-groups"]
        subprocess.run(
            [
                *(as_server if self._as_root else []),
                debian("initdb"), "--pgdata", str(self._folder / "data"), "--username", _USER, "--encoding=UTF8",
                "--locale=C.UTF-8", "--auth=scram-sha-256", "--pwfile", str(self._folder / "password"), "--no-sync",
            ],
            cwd=self._folder, check=True, capture_output=True,
        )  # fmt: skip

    def _answers(self) -> bool:
        asked = subprocess.run(
            [debian("pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}", "--timeout=1"], check=False
        )
        return asked.returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "PGPASSWORD": _PASSWORD}
        subprocess.run([debian(program), *arguments], env=environment, check=True, capture_output=True)
