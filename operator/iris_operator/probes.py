"""The port that the kubelet asks whether this process is alive and ready."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web


class ProbeServer:
    """Serves /healthz and /readyz from the event loop: a loop that hangs does not answer, and is restarted."""

    def __init__(self, port: int, *, alive: Callable[[], str], ready: Callable[[], str]) -> None:
        """Both tell what is wrong; an empty text is well."""
        self._port = port
        self._checks = {"/healthz": alive, "/readyz": ready}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on all addresses of the pod."""
        application = web.Application()
        for path, check in self._checks.items():
            application.router.add_get(path, _handler(check))
        self._runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._port).start()

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()


def _handler(check: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def respond(_request: web.Request) -> web.StreamResponse:
        problem = check()
        return web.json_response({"problem": problem}, status=503 if problem else 200)

    return respond
