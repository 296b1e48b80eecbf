"""A way to the database on which the answer to one COMMIT gets lost."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from sqlalchemy import make_url

_COMMIT = b"COMMIT\0"


class LostAnswer:
    """Carries connections to the database at `url`, whose port it has in its own `url`.

    After `lose_one`, the first COMMIT still reaches the database and is done; instead of the answer the service gets
    the end of the connection.
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

    def lose_one(self) -> None:
        """The answer to the next COMMIT is to get lost; `lost` is set when it has been."""
        self._armed.set()

    def _accept(self) -> None:
        while True:
            try:
                service, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry_to_the_end, args=(service,), daemon=True).start()

    def _carry_to_the_end(self, service: socket.socket) -> None:
        # Either side may be killed.
        with contextlib.suppress(ConnectionError):
            self._carry(service)

    def _carry(self, service: socket.socket) -> None:
        committing = False
        with service, socket.create_connection(self._database) as database, selectors.DefaultSelector() as either:
            either.register(service, selectors.EVENT_READ, database)
            either.register(database, selectors.EVENT_READ, service)
            while True:
                for ready, _ in either.select():
                    said = ready.fileobj.recv(65536)  # type: ignore[union-attr]  # both are sockets
                    if not said:
                        return
                    if ready.fileobj is service:
                        committing = self._armed.is_set() and _COMMIT in said
                    elif committing:
                        self._armed.clear()
                        self.lost.set()
                        return
                    ready.data.sendall(said)
