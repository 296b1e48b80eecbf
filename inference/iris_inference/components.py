"""Creates the parts of the service that depend on the settings."""

import logging
from typing import TYPE_CHECKING

from iris_inference.auth.authenticator import Authenticator
from iris_inference.auth.guard import Guard, KeyGuard, OpenGuard
from iris_inference.cache.base import CacheCodec, NoCache, RemoteCache
from iris_inference.logs import fields
from iris_inference.metrics.registry import Metrics
from iris_inference.model.artifact import Manifest
from iris_inference.recording.memory_backlog import MemoryBacklog
from iris_inference.recording.record import Backlog
from iris_inference.recording.spool import Spool
from iris_inference.server.connection_limiter import ConnectionLimiter, fit_to_file_limit
from iris_inference.settings import Settings

if TYPE_CHECKING:
    from iris_inference.auth.rate_limit_sync import RateLimitSync
    from iris_inference.storage.database import Database

log = logging.getLogger(__name__)

# Importing the clients of Redis and PostgreSQL takes a third of the start, so it is done only where they are used.


def create_database(settings: Settings) -> "Database | None":
    """The database of records; None when none is configured."""
    if settings.database_url is None:
        return None
    from iris_inference.storage.database import Database  # noqa: PLC0415 - see above

    return Database(settings.database_url.get_secret_value(), settings.schema_mode)


def create_authenticator(settings: Settings, metrics: Metrics) -> Authenticator | None:
    """What authenticates keys; None exactly when no keys are needed."""
    if settings.auth == "off" or settings.database_url is None:
        return None
    from iris_inference.auth.key_store import KeyStore  # noqa: PLC0415 - see above

    return Authenticator(
        KeyStore(settings.database_url.get_secret_value(), settings.schema_mode),
        metrics.auth,
        settings.auth_refresh_seconds,
        settings.auth_stale_seconds,
    )


def create_guard(authenticator: Authenticator | None, settings: Settings) -> Guard:
    """The check of API keys, or none when no keys are needed."""
    if authenticator is None:
        log.warning("no API key is needed: whoever reaches the port is served", extra=fields(variable="IRIS_AUTH"))
        return OpenGuard()
    return KeyGuard(authenticator, settings.max_body_bytes)


def create_rate_limit_sync(
    settings: Settings, metrics: Metrics, authenticator: Authenticator | None
) -> "RateLimitSync | None":
    """What shares the rates of keys between pods; None without keys or without Redis."""
    if authenticator is None or settings.redis_url is None:
        return None
    from iris_inference.auth.rate_limit_sync import TIMEOUT_SECONDS, RateLimitSync  # noqa: PLC0415 - see above
    from iris_inference.auth.redis_client import connect  # noqa: PLC0415 - see above

    return RateLimitSync(
        connect(settings.redis_url.get_secret_value(), TIMEOUT_SECONDS),
        authenticator.unsynced_buckets,
        metrics.rate_sync,
        settings.rate_sync_seconds,
    )


def create_connection_limiter(settings: Settings, metrics: Metrics) -> ConnectionLimiter:
    """The bound on connections, lowered when the process may not open that many files."""
    limit = fit_to_file_limit(settings.max_connections)
    if limit < settings.max_connections:
        log.warning(
            "the process may not open as many files as IRIS_MAX_CONNECTIONS needs",
            extra=fields(wanted=settings.max_connections, limit=limit),
        )
    limiter = ConnectionLimiter(limit)
    metrics.registry.register(limiter)
    return limiter


def create_remote_cache(settings: Settings, manifest: Manifest, metrics: Metrics) -> RemoteCache:
    """The cache in Redis, or one that is always empty."""
    if settings.redis_url is None:
        return NoCache()
    from iris_inference.cache.redis_cache import RedisCache  # noqa: PLC0415 - see above
    from iris_inference.cache.redis_connection import RedisConnection, parse_endpoint  # noqa: PLC0415 - see above

    return RedisCache(
        RedisConnection(parse_endpoint(settings.redis_url.get_secret_value())),
        CacheCodec(manifest.sha256, len(manifest.classes), settings.revision),
        metrics,
        settings.cache_timeout_seconds,
        settings.cache_ttl_seconds,
    )


def create_backlog(settings: Settings) -> Backlog | None:
    """Where records wait for the database; None when none is configured. Raises SpoolError."""
    if settings.database_url is None:
        return None
    if settings.spool_dir is None:
        return MemoryBacklog(settings.record_buffer)
    return Spool(settings.spool_dir, settings.spool_max_bytes, sync=settings.spool_sync)
