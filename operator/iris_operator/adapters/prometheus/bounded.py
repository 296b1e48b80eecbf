"""One query to Prometheus with a deadline for all of it, and a limit for its result: `requests` has neither."""

from __future__ import annotations

import contextlib
import io
import math
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.retry import Retry

# Warnings are last in a response; the samples before them may be megabytes.
_TAIL_BYTES = 8192


class ResultTooLarge(requests.RequestException):
    """The result is larger than the limit; the rest of it has not been read."""


class DeadlineExceeded(requests.RequestException):
    """There was no complete result at the deadline, however much had been received by then."""


class UnusableResult(requests.RequestException):
    """A successful response that is no result: a page of another server, or a result from only some of the stores."""


class BoundedQuery:
    """One query, on a connection of its own. `run` blocks; `abort` ends it from another thread at any moment.

    The timeouts of `requests` begin again with every byte that is received. So the sockets are remembered, and shut
    down at the deadline, which ends whatever waits for them.
    """

    def __init__(self, url: str, *, seconds: float, max_bytes: int) -> None:
        """`seconds` is the deadline that the caller sets by `abort`; a connection may not take longer either."""
        self._adapter = _BoundedAdapter(max_bytes)
        session = requests.Session()
        self._prometheus = PrometheusConnect(url=url, retry=Retry(total=0), timeout=math.ceil(seconds), session=session)
        for prefix in (url, "http://", "https://"):
            session.mount(prefix, self._adapter)
        self._session = session

    def run(self, query: str, at: float) -> Any:
        """The result of an instant query at a moment, in seconds since 1970.

        Raises:
            requests.RequestException, urllib3.exceptions.HTTPError, PrometheusApiClientException, ValueError: there is
                none; one of the classes above where it was bounded.
        """
        try:
            return self._prometheus.custom_query(query, {"time": f"{at:.3f}"})
        except Exception as error:
            if self._adapter.aborted:
                raise DeadlineExceeded("no complete result at the deadline") from error
            raise
        finally:
            self._session.close()
            self._adapter.forget_sockets()

    def abort(self) -> None:
        """End the query now."""
        self._adapter.abort()


class _BoundedAdapter(HTTPAdapter):
    """Reads at most so many bytes of a response, and can be aborted."""

    def __init__(self, max_bytes: int) -> None:
        self.aborted = False
        self._max_bytes = max_bytes
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See `HTTPAdapter`: all connections are remembered."""
        super().init_poolmanager(*args, **kwargs)
        self._remember_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """See `HTTPAdapter`: those to a proxy, too."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._remember_connections(manager)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """See `HTTPAdapter`; the body has been read and checked."""
        # A compressed body would be larger in memory than what has been read.
        request.headers["Accept-Encoding"] = "identity"
        response = super().send(request, *args, **kwargs)
        with contextlib.closing(response.raw):
            body = response.raw.read(self._max_bytes + 1, decode_content=True)
        if self.aborted:
            # A connection that was shut down looks like the end of a body without a length.
            raise DeadlineExceeded("no complete result at the deadline")
        if len(body) > self._max_bytes:
            raise ResultTooLarge(f"the result is larger than the limit of {self._max_bytes:,} bytes for one query")
        if response.status_code == requests.codes.ok:
            _check(body, response.headers.get("Content-Type", ""))
        response.raw = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
        return response

    def abort(self) -> None:
        """Shut all connections down, and open no other."""
        with self._lock:
            self.aborted = True
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def forget_sockets(self) -> None:
        """Close what was remembered."""
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()

    def _remember_connections(self, manager: Any) -> None:
        http, https = _pools(self._remember)
        manager.pool_classes_by_scheme = {"http": http, "https": https}

    def _remember(self, connection: socket.socket) -> socket.socket:
        # A duplicate: TLS takes the descriptor over from the socket that it wraps.
        with self._lock:
            if self.aborted:
                connection.close()
                raise DeadlineExceeded("no connection at the deadline")
            self._sockets.append(socket.socket(fileno=os.dup(connection.fileno())))
        return connection


def _pools(remember: Callable[[socket.socket], socket.socket]) -> tuple[type, type]:
    """Pools whose connections tell of their sockets before the first byte is sent, that of TLS included."""

    class Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return remember(super()._new_conn())

    class Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return remember(super()._new_conn())

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    return HttpPool, HttpsPool


def _check(body: bytes, content_type: str) -> None:
    if not body.lstrip().startswith(b"{"):
        what = content_type.split(";", maxsplit=1)[0] or "something else"
        raise UnusableResult(f"the server answers with {what} instead of JSON; is its address that of Prometheus?")
    if b'"warnings":' in body[-_TAIL_BYTES:]:
        raise UnusableResult(f"a partial result: {body[-300:].decode(errors='replace')}")
