"""Both sides of shadow traffic in one process: a canary receives mirrored requests, a stable pod sends them."""

import asyncio
from dataclasses import replace

from starlette.types import ASGIApp

from iris_inference.api.context import AppContext
from iris_inference.api.predict import PredictEndpoint
from iris_inference.auth.authenticator import Authenticator
from iris_inference.logs import LogWriter
from iris_inference.metrics.registry import Metrics
from iris_inference.model.artifact import Manifest
from iris_inference.prediction.mirror import NoMirror, RequestMirror
from iris_inference.prediction.service import PredictionService
from iris_inference.recording.memory_backlog import MemoryBacklog
from iris_inference.recording.record import NoRecorder, Recorder
from iris_inference.recording.recorder import BatchRecorder
from iris_inference.server.middleware import Middleware
from iris_inference.settings import Settings
from iris_inference.shadow.metrics import ReceiverMetrics, SenderMetrics
from iris_inference.shadow.mirrored_request import SHADOW_PATH
from iris_inference.shadow.receiver import ShadowAccessLog, ShadowGuard
from iris_inference.shadow.records import MAX_PENDING, LazyRecorder, RecordTables, ShadowStore
from iris_inference.shadow.sender import ShadowSender


class Shadow:
    """Creates the mirror of this pod, and serves the requests that other pods mirror to it."""

    def __init__(
        self,
        settings: Settings,
        manifest: Manifest,
        metrics: Metrics,
        authenticator: Authenticator | None,
        database: RecordTables | None,
    ) -> None:
        self._settings = settings
        self._metrics = ReceiverMetrics(metrics, manifest.classes, settings.latency_buckets)
        self._guard = ShadowGuard(settings.revision, authenticator)
        self._recorder: Recorder = (
            NoRecorder() if database is None else LazyRecorder(lambda: self._create_recorder(database))
        )
        self._mirror: ShadowSender | None = None
        if settings.shadow_file is not None:
            counts = SenderMetrics()
            metrics.registry.register(counts)
            self._mirror = ShadowSender(settings, settings.shadow_file, manifest.classes, counts, authenticator)
        self._context: AppContext | None = None

    @property
    def mirror(self) -> RequestMirror:
        """Mirrors the requests that are answered here."""
        return self._mirror or NoMirror()

    def create_middleware(self, api: ASGIApp, context: AppContext, log_writer: LogWriter) -> Middleware:
        """The middleware of mirrored requests. `api` is the application that the ordinary middleware wraps as well."""
        self._context = replace(context, metrics=self._metrics, guard=self._guard, mirror=NoMirror())
        access_log = ShadowAccessLog(log_writer, context.manifest, context.settings)
        return Middleware(api, PredictEndpoint(self._context), self._context, access_log, SHADOW_PATH)

    def open(self) -> None:
        """Begin to mirror requests when there is a shadow config. In the event loop."""
        if self._mirror:
            self._mirror.open()

    def model_loaded(self, predictions: PredictionService) -> None:
        """The model is loaded: mirrored requests can be served, too."""
        if self._context:
            self._context.predictions = predictions.with_recorder(self._recorder, self._metrics)

    async def stop_mirroring(self) -> None:
        """Stop mirroring requests."""
        if self._mirror:
            await self._mirror.close()

    async def close_records(self, timeout_seconds: float) -> None:
        """Write the last records of mirrored requests, for `timeout_seconds` at most."""
        if self._context and self._context.predictions:
            await self._context.predictions.drain()
        await asyncio.to_thread(self._recorder.close, timeout_seconds)

    def _create_recorder(self, database: RecordTables) -> Recorder:
        backlog = MemoryBacklog(MAX_PENDING)
        return BatchRecorder(ShadowStore(database), backlog, self._metrics, self._settings.record_batch)
