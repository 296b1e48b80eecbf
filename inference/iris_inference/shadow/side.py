"""Both sides of shadow traffic in a process: a pod gets copies while it is tried, and sends them once it is stable."""

import asyncio
from dataclasses import replace

from starlette.types import ASGIApp

from iris_inference.artifact import Manifest
from iris_inference.auth.authenticator import Authenticator
from iris_inference.edge import Edge
from iris_inference.logs import Lines
from iris_inference.memory import MemoryBacklog
from iris_inference.predict import Predict
from iris_inference.recorder import BatchRecorder
from iris_inference.records import NoRecorder, Recorder
from iris_inference.routing import Room
from iris_inference.service import PredictionService
from iris_inference.settings import Settings
from iris_inference.shadow.copies import SHADOW_PATH
from iris_inference.shadow.counts import MirrorCounts, ReceivedCounts
from iris_inference.shadow.door import ShadowGuard, ShadowLog
from iris_inference.shadow.mirror import Mirror
from iris_inference.shadow.mirroring import Mirroring, NoMirror
from iris_inference.shadow.records import MOST_WAITING, LazyRecorder, ShadowStore, Tables
from iris_inference.telemetry import Metrics


class Shadow:
    """Makes the mirror, and serves the copies that come from others' mirrors."""

    def __init__(
        self,
        settings: Settings,
        manifest: Manifest,
        metrics: Metrics,
        authenticator: Authenticator | None,
        database: Tables | None,
    ) -> None:
        self._settings = settings
        self._received = ReceivedCounts(metrics, manifest.classes, settings.latency_buckets)
        self._guard = ShadowGuard(settings.revision, authenticator)
        self._recorder: Recorder = NoRecorder() if database is None else LazyRecorder(lambda: self._recorded(database))
        self._mirror: Mirror | None = None
        if settings.shadow_file is not None:
            counts = MirrorCounts()
            metrics.registry.register(counts)
            self._mirror = Mirror(settings, settings.shadow_file, manifest.classes, counts, authenticator)
        self._room: Room | None = None

    @property
    def mirror(self) -> Mirroring:
        """Takes the copies of what is answered here."""
        return self._mirror or NoMirror()

    def edge(self, api: ASGIApp, room: Room, lines: Lines) -> Edge:
        """Serves copies as requests are, beside them. `api` is what is behind the room's own edge."""
        self._room = replace(room, metrics=self._received, guard=self._guard, mirror=NoMirror())
        log = ShadowLog(lines, room.manifest, room.settings)
        return Edge(api, Predict(self._room), self._room, log, SHADOW_PATH)

    def open(self) -> None:
        """Begin to send copies, when there is a plan. In the event loop."""
        if self._mirror:
            self._mirror.open()

    def loaded(self, predictions: PredictionService) -> None:
        """The model is loaded: copies can be answered, too."""
        if self._room:
            self._room.predictions = predictions.beside(self._recorder, self._received)

    async def close_mirror(self) -> None:
        """Send no more copies."""
        if self._mirror:
            await self._mirror.close()

    async def close_records(self, timeout_seconds: float) -> None:
        """Write the last records of copies, for as long as `timeout_seconds` at most."""
        if self._room and self._room.predictions:
            await self._room.predictions.finish()
        await asyncio.to_thread(self._recorder.close, timeout_seconds)

    def _recorded(self, database: Tables) -> Recorder:
        backlog = MemoryBacklog(MOST_WAITING)
        return BatchRecorder(ShadowStore(database), backlog, self._received, self._settings.record_batch)
