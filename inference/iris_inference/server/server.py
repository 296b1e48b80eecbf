"""uvicorn with a graceful shutdown: unready, then a drain period, then the last requests, then exit code 0."""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterable
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from iris_inference.lifecycle import Lifecycle
from iris_inference.logs import fields
from iris_inference.server.connection import BoundedProtocol, bounded_protocol
from iris_inference.server.connection_limiter import ConnectionLimiter
from iris_inference.server.fast_path import FastPath
from iris_inference.settings import Settings

log = logging.getLogger(__name__)

_TICKS_BETWEEN_SWEEPS: Final = 5


class DrainingServer(uvicorn.Server):
    """Drains on the first SIGTERM or SIGINT and stops at once on the second."""

    def __init__(
        self,
        app: ASGIApp,
        fast_paths: Iterable[FastPath],
        settings: Settings,
        lifecycle: Lifecycle,
        model_version: str,
        limiter: ConnectionLimiter,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=bounded_protocol(settings, model_version, limiter, fast_paths),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=settings.keep_alive_seconds,
                timeout_graceful_shutdown=settings.shutdown_seconds,
            )
        )
        self._lifecycle = lifecycle
        self._drain_seconds = settings.drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal or `should_exit`."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second. Returns whether to stop."""
        if counter % _TICKS_BETWEEN_SWEEPS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.close_if_overdue(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal. uvicorn's own handler would raise it again at the end, and the exit code would not be 0."""
        del frame
        if self._lifecycle.draining or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._lifecycle.drain()
        self._loop.call_soon_threadsafe(self._start_drain, sig)

    def _start_drain(self, sig: int) -> None:
        log.info("draining", extra=fields(signal=signal.Signals(sig).name, seconds=self._drain_seconds))
        asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True
