"""redis-py's client, for work that is not done per request."""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_MAX_CONNECTIONS: Final = 32


def connect(url: str, timeout_seconds: float) -> Redis:
    """A client that never retries and never waits longer than `timeout_seconds` for the network. Opens nothing yet."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=_MAX_CONNECTIONS,
    )
