"""A Redis of the tests' own, configured as the deployed one: a password, a memory limit, nothing on disk."""

import subprocess
from pathlib import Path

from integration.harness.process import ServerProcess, accepts, free_port
from integration.harness.tools import debian

_PASSWORD = "integration"


class Redis:
    """The server process and its address. The methods of `server` make its faults."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://:{_PASSWORD}@127.0.0.1:{self.port}/0"
        configuration = folder / "redis.conf"
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {_PASSWORD}\ndir {folder}\n"
            'save ""\nappendonly no\nmaxmemory 64mb\nmaxmemory-policy allkeys-lru\n'
        )
        self.server = ServerProcess(
            [debian("redis-server"), str(configuration)], folder / "log", ready=lambda: accepts(self.port)
        )

    def clear(self) -> None:
        """Forgets every key."""
        subprocess.run(
            [
                debian("redis-cli"),
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "--no-auth-warning",
                "-a",
                _PASSWORD,
                "flushall",
            ],
            check=True,
            capture_output=True,
        )
