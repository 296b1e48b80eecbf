"""One connection to Redis that all requests share: commands go out in one order and replies come back in it.

The client of redis-py gives each command a connection of its own, two timers and a dozen calls, which together cost
more than a prediction. Only its reading of URLs is used here, and the parser that it uses itself, hiredis.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, Final, NamedTuple, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

# What nobody waits for is sent with what somebody does, or after so long: sending costs as much as a command.
_BEHIND_SECONDS: Final = 0.005
# How early a timer of uvloop may be.
_CLOCK_SECONDS: Final = 0.001
# Commands beyond these without an answer are not sent: Redis is slow, and the memory is ours.
MAX_OWED: Final = 4_096


class RedisRefusedError(Exception):
    """Redis answered, and not with what was asked for."""


class Endpoint(NamedTuple):
    """Where Redis is, and who asks."""

    host: str
    port: int
    path: str | None
    username: str | None
    password: str | None
    database: int
    tls: ssl.SSLContext | None


def endpoint(url: str) -> Endpoint:
    """What a URL of the schemes redis, rediss and unix says. Raises ValueError.

    With rediss, `?ssl_ca_certs=` names the file with the authorities to trust instead of the system's.
    """
    told: dict[str, Any] = dict(parse_url(url))
    tls = None
    if told.get("connection_class") is SSLConnection:
        tls = ssl.create_default_context(cafile=told.get("ssl_ca_certs"))
    return Endpoint(
        host=told.get("host", "localhost"),
        port=told.get("port", 6379),
        path=told.get("path"),
        username=told.get("username"),
        password=told.get("password"),
        database=int(told.get("db", 0)),
        tls=tls,
    )


class RedisLink:
    """Connects when it is first used, and again after a failure. Belongs to one event loop."""

    def __init__(self, to: Endpoint) -> None:
        self._to = to
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None

    async def ask(self, command: bytes) -> Any:
        """Send one command, written out in Redis's protocol, and return the reply to it.

        Raises OSError, RedisRefusedError, or hiredis.ProtocolError. Waits as long as it takes: the caller has a limit.
        """
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._connected()
        return await wire.ask(command)

    def tell(self, commands: bytes, count: int) -> None:
        """Send so many commands soon, if there is a connection that keeps up, and take no notice of the replies."""
        wire = self._wire
        if wire is not None and not wire.lost and wire.owed < MAX_OWED:
            wire.tell(commands, count)

    def drop(self) -> None:
        """Close the connection, and fail all who wait for it."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _connected(self) -> "_Wire":
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect(), name="redis-connect")
        connecting = self._connecting
        try:
            # One who gives up does not take the connection from the others.
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if connecting.cancelled():
                # The connection was, and not who waits for it: for them it is one that failed.
                raise ConnectionAbortedError("the connection to Redis was given up") from None
            raise

    async def _connect(self) -> "_Wire":
        loop = asyncio.get_running_loop()
        to = self._to
        if to.path is not None:
            _, wire = await loop.create_unix_connection(_Wire, to.path)
        else:
            _, wire = await loop.create_connection(_Wire, to.host, to.port, ssl=to.tls)
        try:
            if to.password is not None:
                await wire.ask(_command("AUTH", *([to.username] if to.username else []), to.password))
            if to.database:
                await wire.ask(_command("SELECT", str(to.database)))
        except BaseException:
            wire.abort()
            raise
        self._wire = wire
        return wire


def _command(*words: str) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its types know commands of one word only
    return packed


class _Wire(asyncio.Protocol):
    """An open connection."""

    def __init__(self) -> None:
        self.lost = False
        self.owed = 0
        self._reader = hiredis.Reader()
        # Who waits for the next replies, and for how many; None: nobody does.
        self._waiting: deque[tuple[int, asyncio.Future[Any] | None]] = deque()
        self._left = 0
        self._behind: list[bytes] = []
        self._behind_count = 0
        # By the loop's clock: when the oldest of them has waited for long enough. One timer looks after it.
        self._behind_due = 0.0
        self._behind_timed = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's Protocol."""
        # uvloop's transports are none by their class.
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self, command: bytes) -> Any:
        """The reply to one command."""
        if self.lost:
            raise ConnectionResetError("the connection to Redis is closed")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        commands = [*self._take_behind(), command]
        self._waiting.append((1, answer))
        self.owed += 1
        self._transport.write(b"".join(commands))
        reply = await answer
        if isinstance(reply, hiredis.ReplyError):
            raise RedisRefusedError(str(reply))
        return reply

    def tell(self, commands: bytes, count: int) -> None:
        """Send commands whose replies nobody wants, before the next question at the latest."""
        if not self._behind:
            loop = asyncio.get_running_loop()
            self._behind_due = loop.time() + _BEHIND_SECONDS
            if not self._behind_timed:
                self._behind_timed = True
                loop.call_at(self._behind_due, self._send_behind)
        self._behind.append(commands)
        self._behind_count += count
        self.owed += count

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
        self._fail(ConnectionAbortedError("the connection to Redis was given up"))

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's Protocol: replies, or parts of some."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            # Or a reply that nobody has asked for: what comes next would be taken for something else.
            self._transport.abort()
            self._fail(ConnectionResetError(f"this is not Redis: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's Protocol."""
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("Redis closed the connection"))

    def _send_behind(self) -> None:
        self._behind_timed = False
        if not self._behind or self.lost:
            return
        loop = asyncio.get_running_loop()
        if self._behind_due - loop.time() > _CLOCK_SECONDS:
            # What the timer was set for has gone with a question; what waits now may find one as well.
            self._behind_timed = True
            loop.call_at(self._behind_due, self._send_behind)
            return
        self._transport.write(b"".join(self._take_behind()))

    def _take_behind(self) -> list[bytes]:
        """The commands that wait to be sent; from here on their replies are waited for."""
        commands, self._behind = self._behind, []
        if commands:
            self._waiting.append((self._behind_count, None))
            self._behind_count = 0
        return commands

    def _take(self, reply: Any) -> None:
        count, answer = self._waiting[0]
        self.owed -= 1
        self._left += 1
        if self._left == count:
            self._waiting.popleft()
            self._left = 0
        # Whoever has given up has cancelled.
        if answer is not None and not answer.done():
            answer.set_result(reply)

    def _fail(self, error: OSError) -> None:
        self.lost = True
        while self._waiting:
            _, answer = self._waiting.popleft()
            if answer is not None and not answer.done():
                answer.set_exception(error)
