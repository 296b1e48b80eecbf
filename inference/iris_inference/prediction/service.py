"""The prediction service: looks predictions up in the cache, runs the model for the others, caches and records them.

Requests that arrive in the same iteration of the event loop form a batch: one lookup, one call of the model, one write
of their records. No request waits for others. Each gets the same prediction as alone, to the last bit, and fails alone.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from iris_inference.cache.base import SOURCE_MODEL, TIER_LOCAL, TIER_REDIS, RemoteCache
from iris_inference.cache.memory_cache import MemoryCache
from iris_inference.model.arrays import Matrix
from iris_inference.model.prediction import Prediction, classes_of
from iris_inference.model.runtime import SLOW_SECONDS, FailureReason, InferenceError, Instance, Model, Packed
from iris_inference.prediction.batch import (
    AwaitedItem,
    BatchItem,
    PredictionResult,
    all_features,
    all_missing,
    distribute,
)
from iris_inference.recording.copy_format import RowEncoder
from iris_inference.recording.record import Recorder

# The most instances in a batch. A model with a long inference time gets smaller ones.
_MAX_BATCH: Final = 1_024
# For a fast model, larger requests are not looked up in Redis: inference takes less time.
_MAX_REMOTE_LOOKUP: Final = 32
# For a fast model, larger requests are not looked up in memory: it saves time only with a hit rate of two in three, and
# caching them evicts the predictions that small requests need again.
_MAX_LOCAL_LOOKUP: Final = 64


class FeatureCounts(Protocol):
    """Counts the values of features."""

    def observe(self, instances: Sequence[Instance] | Matrix) -> None:
        """Count each feature value of each instance."""
        ...


class ServiceCounts(Protocol):
    """Counts inferences and predictions."""

    @property
    def features(self) -> FeatureCounts:
        """The values of the requests' features."""
        ...

    def inference(self, seconds: float, requests: int = 1) -> None:
        """The model ran, successfully or not, for a batch of `requests` requests."""
        ...

    def failure(self, reason: FailureReason) -> None:
        """The inference of a request failed."""
        ...

    def predicted(self, class_index: int, count: int = 1) -> None:
        """`count` instances were predicted as the class."""
        ...


class PredictionService:
    """Serves one loaded model. `clock` returns seconds since 1970, for the records."""

    def __init__(
        self,
        model: Model,
        caches: tuple[MemoryCache, RemoteCache],
        recorder: Recorder,
        metrics: ServiceCounts,
        revision: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.manifest = manifest = model.manifest
        self._model = model
        self._local, self._remote = caches
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._revision = revision
        identity = (manifest.name, manifest.version, manifest.sha256, revision)
        self._encoder = RowEncoder(identity, model.width, manifest.classes)
        # One thread: the model handles one call at a time.
        self._thread = ThreadPoolExecutor(1, "inference") if model.inference_seconds > SLOW_SECONDS else None
        self._max_batch = _max_batch_size(model)
        self._queue: list[BatchItem] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def predict(self, request_id: str, instances: Sequence[Instance]) -> "asyncio.Future[PredictionResult]":
        """Predict the class of each instance, and record the predictions under `request_id`.

        The future raises InferenceError, which is counted already, when the inference fails, and RecordNotKeptError
        when the record could not be stored.
        """
        awaited = AwaitedItem(request_id, instances)
        self.enqueue(awaited)
        return awaited.future

    def enqueue(self, item: BatchItem) -> None:
        """Serve `item` in a batch with the others of this iteration of the event loop; then it succeeds or fails."""
        if not self._queue:
            # The task starts after all requests that this iteration has read from the network are enqueued.
            self._spawn(self._serve_queue())
        self._queue.append(item)

    async def drain(self) -> None:
        """Wait for all requests that were enqueued before this call."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def with_recorder(self, recorder: Recorder, metrics: ServiceCounts) -> "PredictionService":
        """A service for the same model and caches with another recorder and other metrics. It must not be closed."""
        other = PredictionService(
            self._model, (self._local, self._remote), recorder, metrics, self._revision, self._clock
        )
        # Both share the model's thread: it handles one call at a time. The new service's own pool has no thread yet.
        other._thread = self._thread
        return other

    def close(self) -> None:
        """Stop the model's thread, if there is one, after its current call."""
        if self._thread:
            self._thread.shutdown()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_queue(self) -> None:
        items, self._queue = self._queue, []
        first, *others = _split_batches(items, self._max_batch)
        for batch in others:
            self._spawn(self._serve_batch(batch))
        await self._serve_batch(first)

    async def _serve_batch(self, items: Sequence[BatchItem]) -> None:
        try:
            self._metrics.features.observe(all_features(items))
            await self._look_up(items)
            if missing := [item for item in items if item.missing]:
                await self._infer_missing(missing)
            await self._record_and_complete([item for item in items if not item.missing])
        except Exception as error:  # noqa: BLE001 - each of them answers with it, and logs it
            for item in items:
                item.fail(error)
        except asyncio.CancelledError:
            # No request may wait for ever for its result.
            for item in items:
                item.fail(RuntimeError("the request was cancelled"))
            raise

    async def _look_up(self, items: Sequence[BatchItem]) -> None:
        """Take the predictions that are cached."""
        if not self._worth_looking_up(items, _MAX_LOCAL_LOOKUP):
            return
        cached = self._local.get(all_missing(items))
        if any(cached):
            distribute(items, cached, TIER_LOCAL)
        items = [item for item in items if item.missing]
        if items and self._worth_looking_up(items, _MAX_REMOTE_LOOKUP):
            packed = all_missing(items)
            cached = await self._remote.get(packed)
            if any(cached):
                self._local.put(*zip(*[pair for pair in zip(packed, cached, strict=True) if pair[1]], strict=True))
                distribute(items, cached, TIER_REDIS)

    async def _infer_missing(self, items: Sequence[BatchItem]) -> None:
        """Run the model for the missing predictions. When it fails for a batch, each request is tried alone."""
        packed = all_missing(items)
        predictions, seconds = await self._infer(packed)
        if not isinstance(predictions, InferenceError):
            self._metrics.inference(seconds, len(items))
            if self._worth_looking_up(items, _MAX_LOCAL_LOOKUP):
                predictions = list(predictions)
                self._local.put(packed, predictions)
            if self._worth_looking_up(items, _MAX_REMOTE_LOOKUP):
                self._remote.put(packed, predictions)
            distribute(items, predictions, SOURCE_MODEL)
        elif len(items) > 1:
            for item in items:
                await self._infer_missing([item])
        else:
            self._metrics.inference(seconds)
            self._metrics.failure(predictions.reason)
            items[0].fail(predictions)

    async def _record_and_complete(self, items: Sequence[BatchItem]) -> None:
        """Record the predictions, then complete the requests."""
        if not items:
            return
        now = self._clock()
        entries = [self._encoder.encode(item.request_id, now, item.features, item.predictions) for item in items]
        classes: list[int] = []
        for item, refusal in zip(items, await self._recorder.submit(entries), strict=True):
            if refusal:
                item.fail(refusal)
            else:
                classes += classes_of(item.predictions)
                item.succeed()
        for class_index in set(classes):
            self._metrics.predicted(class_index, classes.count(class_index))

    async def _infer(self, packed: Sequence[Packed]) -> tuple[Sequence[Prediction] | InferenceError, float]:
        if self._thread is None:
            return self._run_model(packed)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run_model, packed)

    def _run_model(self, packed: Sequence[Packed]) -> tuple[Sequence[Prediction] | InferenceError, float]:
        """The predictions or the error of the model, and the time that it took in seconds."""
        started = time.perf_counter()
        result: Sequence[Prediction] | InferenceError
        try:
            result = self._model.predict(packed)
        except InferenceError as error:
            result = error
        return result, time.perf_counter() - started

    def _worth_looking_up(self, items: Sequence[BatchItem], limit: int) -> bool:
        """Whether a cache lookup saves time: always with a slow model, up to `limit` instances with a fast one."""
        return self._thread is not None or len(items[0].instances) <= limit


def _max_batch_size(model: Model) -> int:
    """The most instances per call of the model, unless a single request has more. 1: one request at a time."""
    if not model.batch_invariant:
        return 1
    # A batch must not block the event loop for longer than a single instance may.
    return max(1, min(_MAX_BATCH, int(SLOW_SECONDS / model.inference_seconds)))


def _split_batches(items: Sequence[BatchItem], max_instances: int) -> list[list[BatchItem]]:
    """The requests in order, in batches of up to `max_instances`. One too large for a Redis lookup is alone."""
    batches: list[list[BatchItem]] = []
    remaining = 0
    for item in items:
        size = len(item.instances)
        if size > remaining or size > _MAX_REMOTE_LOOKUP:
            batches.append([])
            remaining = max_instances if size <= _MAX_REMOTE_LOOKUP else 0
        batches[-1].append(item)
        remaining -= size
    return batches
