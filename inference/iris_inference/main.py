"""Wires the service together, runs it, and turns its end into an exit code."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI

from iris_inference import logs
from iris_inference.admission import Gate, affordable
from iris_inference.app import create_app
from iris_inference.artifact import ArtifactError, Manifest, read_artifact, read_manifest
from iris_inference.auth.authenticator import Authenticator
from iris_inference.auth.guard import Guard, KeyGuard, OpenGuard
from iris_inference.cache import Codec, NoCache, RemoteCache
from iris_inference.feedback import FeedbackService
from iris_inference.lifecycle import Lifecycle
from iris_inference.local_cache import LocalCache
from iris_inference.logs import Lines, fields
from iris_inference.memory import MemoryBacklog
from iris_inference.recorder import BatchRecorder
from iris_inference.records import Backlog, NoRecorder, Recorder
from iris_inference.routing import Room
from iris_inference.runtime import Model
from iris_inference.schemas import FEATURES
from iris_inference.server import DrainingServer
from iris_inference.service import PredictionService
from iris_inference.settings import Settings, SettingsError, read_settings
from iris_inference.shadow.side import Shadow
from iris_inference.spool import Spool, SpoolError
from iris_inference.telemetry import Metrics

if TYPE_CHECKING:
    from iris_inference.auth.settlement import Settlement
    from iris_inference.store import Database

log = logging.getLogger(__name__)

DONE: Final = 0
MODEL_REFUSED: Final = 1
WRONG_SETTINGS: Final = 2
PORT_TAKEN: Final = 3

# For a thread that only reads; what it was doing is worth nothing by then.
_THREAD_END_SECONDS: Final = 1.0


def main() -> int:
    """Serve until SIGTERM. Returns the exit code: 0 drained, 1 model refused, 2 wrong settings, 3 port taken."""
    try:
        settings = read_settings(Settings)
    except SettingsError as error:
        logs.configure("INFO")
        log.critical("wrong settings", extra=fields(variables=str(error).splitlines()))
        return WRONG_SETTINGS
    lines = logs.configure(settings.log_level)
    try:
        manifest = read_manifest(settings.model_dir, settings.model_public_keys or ())
    except ArtifactError as error:
        log.critical("model refused", extra=fields(error=str(error)))
        return MODEL_REFUSED
    return _serve(settings, manifest, lines)


def _serve(settings: Settings, manifest: Manifest, lines: Lines) -> int:
    metrics = Metrics(manifest, FEATURES, settings.latency_buckets)
    with ExitStack() as around:
        try:
            # Metrics begin before the model loads and end after the last record: Prometheus sees all of it.
            around.enter_context(metrics.serving(settings.host, settings.metrics_port))
        except OSError as error:
            log.critical("cannot listen", extra=fields(port=settings.metrics_port, error=str(error)))
            return PORT_TAKEN
        try:
            process = Process(settings, manifest, metrics, lines)
        except SpoolError as error:
            log.critical("wrong settings", extra=fields(variables=[f"IRIS_SPOOL_DIR: {error}"]))
            return WRONG_SETTINGS
        process.run()
        return MODEL_REFUSED if process.refused else DONE


class Process:
    """The service from its start to its end: the room that the routes share, and the server."""

    def __init__(self, settings: Settings, manifest: Manifest, metrics: Metrics, lines: Lines) -> None:
        self.refused = False
        self._lines = lines
        self._settings = settings
        self._metrics = metrics
        self._database = _database(settings)
        self._backlog = _backlog(settings)
        self._authenticator = _authenticator(settings, metrics)
        self._shadow = Shadow(settings, manifest, metrics, self._authenticator, self._database)
        mirror = self._shadow.mirror
        self._room = Room(
            settings=settings,
            manifest=manifest,
            metrics=metrics,
            lifecycle=Lifecycle(),
            feedback=FeedbackService(self._database, metrics, settings.revision, manifest.classes, mirror),
            guard=_guard(self._authenticator, settings),
            mirror=mirror,
        )
        self._server = DrainingServer(
            create_app(self._room, self._shadow, lines, self._lifespan),
            settings,
            self._room.lifecycle,
            manifest.version,
            _gate(settings, metrics),
        )

    def run(self) -> None:
        """Serve until SIGTERM or `stop`."""
        try:
            self._server.run()
        finally:
            self._lines.flush()

    def stop(self) -> None:
        """End after the requests in flight, without the announcement that a signal brings. From any thread."""
        self._server.should_exit = True

    @asynccontextmanager
    async def _lifespan(self, _api: FastAPI) -> AsyncIterator[None]:
        """Load the model beside the open port: liveness answers from the first moment, readiness when it may."""
        behind = Behind(
            cache=_remote_cache(self._settings, self._room.manifest, self._metrics),
            recorder=self._recorder(),
            settlement=_settlement(self._settings, self._metrics, self._authenticator),
        )
        if self._authenticator:
            self._authenticator.open()
        self._shadow.open()
        loading = asyncio.create_task(self._load(behind), name="load-model")
        yield
        await loading
        await self._close(behind)

    def _recorder(self) -> Recorder:
        if self._database is None or self._backlog is None:
            return NoRecorder()
        return BatchRecorder(self._database, self._backlog, self._metrics, self._settings.record_batch)

    async def _load(self, behind: "Behind") -> None:
        started = time.perf_counter()
        room = self._room
        try:
            model = await asyncio.to_thread(_load_model, self._settings, room.manifest)
        except ArtifactError as error:
            log.critical("model refused", extra=fields(error=str(error)))
            self.refused = True
            self.stop()
            return
        room.predictions = PredictionService(
            model,
            (LocalCache(self._metrics, self._settings.cache_entries), behind.cache),
            behind.recorder,
            self._metrics,
            self._settings.revision,
        )
        self._shadow.loaded(room.predictions)
        # What is loaded by now stays: the collector need not walk through it again and again.
        gc.collect()
        gc.freeze()
        room.lifecycle.loaded()
        _tell_ready(model, self._settings, time.perf_counter() - started)

    async def _close(self, behind: "Behind") -> None:
        """After the last answer: the copies, the model's thread, then the records, then the connections."""
        await self._shadow.close_mirror()
        if self._room.predictions:
            # Of clients that went away: uvicorn waits for the others.
            await self._room.predictions.finish()
            self._room.predictions.close()
        self._room.feedback.close()
        await asyncio.to_thread(behind.recorder.close, self._settings.flush_seconds)
        await self._shadow.close_records(_THREAD_END_SECONDS)
        await behind.cache.close()
        if behind.settlement:
            await behind.settlement.close()
        if self._authenticator:
            await asyncio.to_thread(self._authenticator.close, _THREAD_END_SECONDS)
        if self._database:
            self._database.close()
        log.info("drained")


@dataclass(frozen=True, slots=True)
class Behind:
    """What works behind the answers."""

    cache: RemoteCache
    recorder: Recorder
    settlement: "Settlement | None"


def _load_model(settings: Settings, manifest: Manifest) -> Model:
    return Model(read_artifact(settings.model_dir, manifest), FEATURES)


def _tell_ready(model: Model, settings: Settings, seconds: float) -> None:
    manifest = model.manifest
    log.info(
        "ready",
        extra=fields(
            model=manifest.name,
            version=manifest.version,
            revision=settings.revision,
            digest=manifest.sha256,
            load_seconds=round(seconds, 3),
            inference_ms=round(model.warm_seconds * 1_000, 3),
        ),
    )
    if model.missing_features:
        # Not refused here: which features requests carry is the API's affair, and the answers are counted.
        log.warning(
            "the model expects features that requests do not carry; it cannot answer",
            extra=fields(missing=model.missing_features, expected=manifest.features),
        )


# The clients of Redis and PostgreSQL take a third of the start to import, so they are, only where they are used.


def _database(settings: Settings) -> "Database | None":
    if settings.database_url is None:
        return None
    from iris_inference.store import Database  # noqa: PLC0415 - see above

    return Database(settings.database_url.get_secret_value(), settings.schema_mode)


def _authenticator(settings: Settings, metrics: Metrics) -> Authenticator | None:
    """None exactly when no keys are needed."""
    if settings.auth == "off" or settings.database_url is None:
        return None
    from iris_inference.auth.key_store import KeyStore  # noqa: PLC0415 - see above

    return Authenticator(
        KeyStore(settings.database_url.get_secret_value(), settings.schema_mode),
        metrics.auth,
        settings.auth_refresh_seconds,
        settings.auth_stale_seconds,
    )


def _guard(authenticator: Authenticator | None, settings: Settings) -> Guard:
    if authenticator is None:
        log.warning("no API key is needed: whoever reaches the port is served", extra=fields(variable="IRIS_AUTH"))
        return OpenGuard()
    return KeyGuard(authenticator, settings.max_body_bytes)


def _settlement(settings: Settings, metrics: Metrics, authenticator: Authenticator | None) -> "Settlement | None":
    if authenticator is None or settings.redis_url is None:
        return None
    from iris_inference.auth.settlement import TIMEOUT_SECONDS, Settlement  # noqa: PLC0415 - see above
    from iris_inference.redis_client import connect  # noqa: PLC0415 - see above

    return Settlement(
        connect(settings.redis_url.get_secret_value(), TIMEOUT_SECONDS),
        authenticator.touched,
        metrics.rate_sync,
        settings.rate_sync_seconds,
    )


def _gate(settings: Settings, metrics: Metrics) -> Gate:
    limit = affordable(settings.max_connections)
    if limit < settings.max_connections:
        log.warning(
            "the process may not open as many files as IRIS_MAX_CONNECTIONS needs",
            extra=fields(wanted=settings.max_connections, limit=limit),
        )
    gate = Gate(limit)
    metrics.registry.register(gate)
    return gate


def _remote_cache(settings: Settings, manifest: Manifest, metrics: Metrics) -> RemoteCache:
    if settings.redis_url is None:
        return NoCache()
    from iris_inference.redis_cache import RedisCache  # noqa: PLC0415 - see above
    from iris_inference.redis_link import RedisLink, endpoint  # noqa: PLC0415 - see above

    return RedisCache(
        RedisLink(endpoint(settings.redis_url.get_secret_value())),
        Codec(manifest.sha256, len(manifest.classes)),
        metrics,
        settings.cache_timeout_seconds,
        settings.cache_ttl_seconds,
    )


def _backlog(settings: Settings) -> Backlog | None:
    """Where records wait; none when there is no database that they could go to. Raises SpoolError."""
    if settings.database_url is None:
        return None
    if settings.spool_dir is None:
        return MemoryBacklog(settings.record_buffer)
    return Spool(settings.spool_dir, settings.spool_max_bytes, sync=settings.spool_sync)
