"""Wires the service together, runs it, and returns its exit code."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI

from iris_inference import components, logs
from iris_inference.api.access_log import AccessLog
from iris_inference.api.app import Lifespan, create_api
from iris_inference.api.context import AppContext
from iris_inference.api.predict import PredictEndpoint
from iris_inference.api.schemas import FEATURES
from iris_inference.cache.base import RemoteCache
from iris_inference.cache.memory_cache import MemoryCache
from iris_inference.lifecycle import Lifecycle
from iris_inference.logs import LogWriter, fields
from iris_inference.metrics.registry import Metrics
from iris_inference.model.artifact import ArtifactError, Manifest, read_artifact, read_manifest
from iris_inference.model.runtime import Model
from iris_inference.prediction.feedback import FeedbackService
from iris_inference.prediction.service import PredictionService
from iris_inference.recording.record import NoRecorder, Recorder
from iris_inference.recording.recorder import BatchRecorder
from iris_inference.recording.spool import SpoolError
from iris_inference.server.middleware import Middleware
from iris_inference.server.server import DrainingServer
from iris_inference.settings import Settings, SettingsError, read_settings
from iris_inference.shadow.receiver import ShadowDispatcher
from iris_inference.shadow.shadow import Shadow

if TYPE_CHECKING:
    from iris_inference.auth.rate_limit_sync import RateLimitSync

log = logging.getLogger(__name__)

DONE: Final = 0
MODEL_REFUSED: Final = 1
WRONG_SETTINGS: Final = 2
PORT_TAKEN: Final = 3

# For threads whose unfinished work may be lost.
_THREAD_JOIN_SECONDS: Final = 1.0


def main() -> int:
    """Serve until SIGTERM. Returns the exit code: 0 drained, 1 model refused, 2 wrong settings, 3 port taken."""
    try:
        settings = read_settings(Settings)
    except SettingsError as error:
        logs.configure("INFO")
        log.critical("wrong settings", extra=fields(variables=str(error).splitlines()))
        return WRONG_SETTINGS
    log_writer = logs.configure(settings.log_level)
    try:
        manifest = read_manifest(settings.model_dir, settings.model_public_keys or ())
    except ArtifactError as error:
        log.critical("model refused", extra=fields(error=str(error)))
        return MODEL_REFUSED
    return _serve(settings, manifest, log_writer)


def _serve(settings: Settings, manifest: Manifest, log_writer: LogWriter) -> int:
    metrics = Metrics(manifest, FEATURES, settings.latency_buckets)
    with ExitStack() as stack:
        try:
            # Served from before the model loads until after the last record, so that Prometheus sees all of it.
            stack.enter_context(metrics.serving(settings.host, settings.metrics_port))
        except OSError as error:
            log.critical("cannot listen", extra=fields(port=settings.metrics_port, error=str(error)))
            return PORT_TAKEN
        try:
            application = Application(settings, manifest, metrics, log_writer)
        except SpoolError as error:
            log.critical("wrong settings", extra=fields(variables=[f"IRIS_SPOOL_DIR: {error}"]))
            return WRONG_SETTINGS
        application.run()
        return MODEL_REFUSED if application.model_refused else DONE


def create_app(
    context: AppContext, shadow: Shadow, log_writer: LogWriter, lifespan: Lifespan | None = None
) -> ShadowDispatcher:
    """The ASGI application: the API inside the middleware that logs and counts every response."""
    predict = PredictEndpoint(context)
    api = create_api(context, predict, lifespan)
    middleware = Middleware(api, predict, context, AccessLog(log_writer, context.manifest, context.settings))
    return ShadowDispatcher(middleware, shadow.create_middleware(api, context, log_writer))


class Application:
    """The process: all parts of the service, the server, and the order in which they start and stop."""

    def __init__(self, settings: Settings, manifest: Manifest, metrics: Metrics, log_writer: LogWriter) -> None:
        self.model_refused = False
        self._log_writer = log_writer
        self._settings = settings
        self._metrics = metrics
        self._database = components.create_database(settings)
        self._backlog = components.create_backlog(settings)
        self._authenticator = components.create_authenticator(settings, metrics)
        self._shadow = Shadow(settings, manifest, metrics, self._authenticator, self._database)
        mirror = self._shadow.mirror
        self._context = AppContext(
            settings=settings,
            manifest=manifest,
            metrics=metrics,
            lifecycle=Lifecycle(),
            feedback=FeedbackService(self._database, metrics, settings.revision, manifest.classes, mirror),
            guard=components.create_guard(self._authenticator, settings),
            mirror=mirror,
        )
        app = create_app(self._context, self._shadow, log_writer, self._lifespan)
        self._server = DrainingServer(
            app,
            app.fast_paths,
            settings,
            self._context.lifecycle,
            manifest.version,
            components.create_connection_limiter(settings, metrics),
        )

    def run(self) -> None:
        """Serve until SIGTERM or `stop`."""
        try:
            self._server.run()
        finally:
            self._log_writer.flush()

    def stop(self) -> None:
        """Stop after the requests in flight, without the drain period that a signal starts. From any thread."""
        self._server.should_exit = True

    @asynccontextmanager
    async def _lifespan(self, _api: FastAPI) -> AsyncIterator[None]:
        """Load the model while the port is open: liveness succeeds at once, readiness when the model is loaded."""
        services = BackgroundServices(
            cache=components.create_remote_cache(self._settings, self._context.manifest, self._metrics),
            recorder=self._create_recorder(),
            rate_limit_sync=components.create_rate_limit_sync(self._settings, self._metrics, self._authenticator),
        )
        if self._authenticator:
            self._authenticator.open()
        self._shadow.open()
        loading = asyncio.create_task(self._load(services), name="load-model")
        yield
        await loading
        await self._close(services)

    def _create_recorder(self) -> Recorder:
        if self._database is None or self._backlog is None:
            return NoRecorder()
        return BatchRecorder(self._database, self._backlog, self._metrics, self._settings.record_batch)

    async def _load(self, services: "BackgroundServices") -> None:
        started = time.perf_counter()
        context = self._context
        try:
            model = await asyncio.to_thread(_load_model, self._settings, context.manifest)
        except ArtifactError as error:
            log.critical("model refused", extra=fields(error=str(error)))
            self.model_refused = True
            self.stop()
            return
        context.predictions = PredictionService(
            model,
            (MemoryCache(self._metrics, self._settings.cache_entries), services.cache),
            services.recorder,
            self._metrics,
            self._settings.revision,
        )
        self._shadow.model_loaded(context.predictions)
        # Objects that exist now stay for ever, so the garbage collector need not scan them again.
        gc.collect()
        gc.freeze()
        context.lifecycle.loaded()
        _log_ready(model, self._settings, time.perf_counter() - started)

    async def _close(self, services: "BackgroundServices") -> None:
        """Close, after the last response: the mirror, the model's thread, the records, then the connections."""
        await self._shadow.stop_mirroring()
        if self._context.predictions:
            # Requests of disconnected clients: uvicorn waits only for the others.
            await self._context.predictions.drain()
            self._context.predictions.close()
        self._context.feedback.close()
        await asyncio.to_thread(services.recorder.close, self._settings.flush_seconds)
        await self._shadow.close_records(_THREAD_JOIN_SECONDS)
        await services.cache.close()
        if services.rate_limit_sync:
            await services.rate_limit_sync.close()
        if self._authenticator:
            await asyncio.to_thread(self._authenticator.close, _THREAD_JOIN_SECONDS)
        if self._database:
            self._database.close()
        log.info("drained")


@dataclass(frozen=True, slots=True)
class BackgroundServices:
    """What works in the background of requests."""

    cache: RemoteCache
    recorder: Recorder
    rate_limit_sync: "RateLimitSync | None"


def _load_model(settings: Settings, manifest: Manifest) -> Model:
    return Model(read_artifact(settings.model_dir, manifest), FEATURES)


def _log_ready(model: Model, settings: Settings, seconds: float) -> None:
    manifest = model.manifest
    log.info(
        "ready",
        extra=fields(
            model=manifest.name,
            version=manifest.version,
            revision=settings.revision,
            digest=manifest.sha256,
            load_seconds=round(seconds, 3),
            inference_ms=round(model.inference_seconds * 1_000, 3),
        ),
    )
    if model.missing_features:
        # The model is not refused: which features requests have is up to the API, and the failures are counted.
        log.warning(
            "the model expects features that requests do not carry; it cannot answer",
            extra=fields(missing=model.missing_features, expected=manifest.features),
        )
