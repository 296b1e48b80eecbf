"""One pipelined connection to Redis that all requests share: replies arrive in the order of the commands.

redis-py's client uses a connection of its own, two timers and a dozen calls for each command, which together cost more
than a prediction. Only its URL parser is used here, and hiredis, the protocol parser that it uses itself.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, Final, NamedTuple, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

# Commands whose replies nobody awaits are sent with the next awaited command, or after this delay: a write to the
# socket costs as much as a command.
_MAX_DELAY_SECONDS: Final = 0.005
# How much too early a timer of uvloop may fire.
_TIMER_SLACK_SECONDS: Final = 0.001
# With this many commands in flight, further writes are dropped: Redis is slow, and the queue must not grow.
MAX_IN_FLIGHT: Final = 4_096


class RedisRefusedError(Exception):
    """Redis replied with an error."""


class Endpoint(NamedTuple):
    """The address of Redis, and the credentials."""

    host: str
    port: int
    path: str | None
    username: str | None
    password: str | None
    database: int
    tls: ssl.SSLContext | None


def parse_endpoint(url: str) -> Endpoint:
    """Parse a URL with the scheme redis, rediss or unix. Raises ValueError.

    With rediss, `?ssl_ca_certs=` names the file with the CA certificates to trust instead of the system's.
    """
    options: dict[str, Any] = dict(parse_url(url))
    tls = None
    if options.get("connection_class") is SSLConnection:
        tls = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    return Endpoint(
        host=options.get("host", "localhost"),
        port=options.get("port", 6379),
        path=options.get("path"),
        username=options.get("username"),
        password=options.get("password"),
        database=int(options.get("db", 0)),
        tls=tls,
    )


class RedisConnection:
    """Connects on first use, and again after a failure. Not thread-safe: use it in one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._protocol: _RedisProtocol | None = None
        self._connecting: asyncio.Task[_RedisProtocol] | None = None

    async def execute(self, command: bytes) -> Any:
        """Send one command, encoded in Redis's protocol, and return its reply.

        Raises OSError, RedisRefusedError or hiredis.ProtocolError. Has no timeout of its own: the caller sets one.
        """
        protocol = self._protocol
        if protocol is None or protocol.closed:
            protocol = await self._ensure_connected()
        return await protocol.execute(command)

    def send_nowait(self, commands: bytes, count: int) -> None:
        """Send `count` commands soon and ignore their replies; drop them without a connection that keeps up."""
        protocol = self._protocol
        if protocol is not None and not protocol.closed and protocol.in_flight < MAX_IN_FLIGHT:
            protocol.send_nowait(commands, count)

    def disconnect(self) -> None:
        """Close the connection; everything that waits for it fails."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._protocol is not None:
            self._protocol.abort()
            self._protocol = None

    async def _ensure_connected(self) -> "_RedisProtocol":
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect(), name="redis-connect")
        connecting = self._connecting
        try:
            # Shielded: a caller that is cancelled does not cancel the connection for the others.
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if connecting.cancelled():
                # The connection attempt was cancelled, not this caller: for the caller it failed.
                raise ConnectionAbortedError("the connection to Redis was given up") from None
            raise

    async def _connect(self) -> "_RedisProtocol":
        loop = asyncio.get_running_loop()
        endpoint = self._endpoint
        if endpoint.path is not None:
            _, protocol = await loop.create_unix_connection(_RedisProtocol, endpoint.path)
        else:
            _, protocol = await loop.create_connection(_RedisProtocol, endpoint.host, endpoint.port, ssl=endpoint.tls)
        try:
            if endpoint.password is not None:
                await protocol.execute(
                    _command("AUTH", *([endpoint.username] if endpoint.username else []), endpoint.password)
                )
            if endpoint.database:
                await protocol.execute(_command("SELECT", str(endpoint.database)))
        except BaseException:
            protocol.abort()
            raise
        self._protocol = protocol
        return protocol


def _command(*words: str) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its type stub allows commands of one word only
    return packed


class _RedisProtocol(asyncio.Protocol):
    """The protocol of an open connection."""

    def __init__(self) -> None:
        self.closed = False
        self.in_flight = 0
        self._reader = hiredis.Reader()
        # How many replies belong to the next futures; None: the replies are ignored.
        self._awaited: deque[tuple[int, asyncio.Future[Any] | None]] = deque()
        self._received = 0
        self._pending: list[bytes] = []
        self._pending_count = 0
        # When the pending commands are due, by the loop's clock. There is one timer for all of them.
        self._pending_due = 0.0
        self._timer_set = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's Protocol."""
        # uvloop's transports do not inherit from asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    async def execute(self, command: bytes) -> Any:
        """Send one command and return its reply."""
        if self.closed:
            raise ConnectionResetError("the connection to Redis is closed")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        commands = [*self._take_pending(), command]
        self._awaited.append((1, future))
        self.in_flight += 1
        self._transport.write(b"".join(commands))
        reply = await future
        if isinstance(reply, hiredis.ReplyError):
            raise RedisRefusedError(str(reply))
        return reply

    def send_nowait(self, commands: bytes, count: int) -> None:
        """Send commands whose replies are ignored, at the latest before the next awaited command."""
        if not self._pending:
            loop = asyncio.get_running_loop()
            self._pending_due = loop.time() + _MAX_DELAY_SECONDS
            if not self._timer_set:
                self._timer_set = True
                loop.call_at(self._pending_due, self._send_pending)
        self._pending.append(commands)
        self._pending_count += count
        self.in_flight += count

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
        self._fail(ConnectionAbortedError("the connection to Redis was given up"))

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's Protocol: parse replies."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._handle_reply(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            # IndexError: a reply without a command. Later replies would be matched with the wrong commands.
            self._transport.abort()
            self._fail(ConnectionResetError(f"this is not Redis: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's Protocol."""
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("Redis closed the connection"))

    def _send_pending(self) -> None:
        self._timer_set = False
        if not self._pending or self.closed:
            return
        loop = asyncio.get_running_loop()
        if self._pending_due - loop.time() > _TIMER_SLACK_SECONDS:
            # The commands that the timer was set for were sent with an awaited one; the pending ones are newer.
            self._timer_set = True
            loop.call_at(self._pending_due, self._send_pending)
            return
        self._transport.write(b"".join(self._take_pending()))

    def _take_pending(self) -> list[bytes]:
        """Remove and return the pending commands; from here on their replies are expected."""
        commands, self._pending = self._pending, []
        if commands:
            self._awaited.append((self._pending_count, None))
            self._pending_count = 0
        return commands

    def _handle_reply(self, reply: Any) -> None:
        count, future = self._awaited[0]
        self.in_flight -= 1
        self._received += 1
        if self._received == count:
            self._awaited.popleft()
            self._received = 0
        # The future of a caller that was cancelled is done.
        if future is not None and not future.done():
            future.set_result(reply)

    def _fail(self, error: OSError) -> None:
        self.closed = True
        while self._awaited:
            _, future = self._awaited.popleft()
            if future is not None and not future.done():
                future.set_exception(error)
