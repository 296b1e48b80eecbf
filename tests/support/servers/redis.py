"""A Redis server for tests, configured like the deployed one: a password, a memory limit, no persistence."""

import subprocess
from pathlib import Path

from support.servers.process import ServerProcess, accepts, free_port
from support.servers.tools import debian

_PASSWORD = "integration"


class Redis:
    """The server process and its address. The methods of `server` inject faults."""

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
        """Deletes every key."""
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
