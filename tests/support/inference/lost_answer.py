"""A TCP proxy to the database that drops the answer to one COMMIT."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from sqlalchemy import make_url

_COMMIT = b"COMMIT\0"


class LostCommitProxy:
    """Forwards connections to the database at `url`; clients connect to the proxy's own `url`.

    After `lose_next_commit`, the next COMMIT still reaches the database and succeeds; instead of the answer the
    connection of the service is closed.
    """

    def __init__(self, url: str) -> None:
        target = make_url(url)
        self._database = ("127.0.0.1", target.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = target.set(port=self._listening.getsockname()[1]).render_as_string(hide_password=False)
        self._armed = threading.Event()
        self.lost = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Without it a thread that waits in accept() is not woken.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def lose_next_commit(self) -> None:
        """The answer to the next COMMIT is to get lost; `lost` is set when it has been."""
        self._armed.set()

    def _accept(self) -> None:
        while True:
            try:
                service, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._forward_until_closed, args=(service,), daemon=True).start()

    def _forward_until_closed(self, service: socket.socket) -> None:
        # Either side may be killed.
        with contextlib.suppress(ConnectionError):
            self._forward(service)

    def _forward(self, service: socket.socket) -> None:
        committing = False
        with service, socket.create_connection(self._database) as database, selectors.DefaultSelector() as selector:
            selector.register(service, selectors.EVENT_READ, database)
            selector.register(database, selectors.EVENT_READ, service)
            while True:
                for ready, _ in selector.select():
                    data = ready.fileobj.recv(65536)  # type: ignore[union-attr]  # both are sockets
                    if not data:
                        return
                    if ready.fileobj is service:
                        committing = self._armed.is_set() and _COMMIT in data
                    elif committing:
                        self._armed.clear()
                        self.lost.set()
                        return
                    ready.data.sendall(data)
