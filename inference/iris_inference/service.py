"""Predicts: cache, then model, then cache and records behind the answer.

Requests that come in the same turn of the event loop are served together: one lookup, one call of the model, one write
of their records. Nobody waits for company. Each keeps its own answer, to the last bit, and its own failure.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from iris_inference.asks import Answer, Ask, Awaited, missing_of, share, values_of
from iris_inference.cache import LOCAL, MODEL, REDIS, RemoteCache
from iris_inference.copyrows import RowEncoder
from iris_inference.counting import ServiceCounts
from iris_inference.local_cache import LocalCache
from iris_inference.predictions import Prediction, classes_of
from iris_inference.records import Recorder
from iris_inference.runtime import SLOW_SECONDS, InferenceError, Instance, Model, Packed

# Flowers of requests that are served together, at most. What a model takes for a single one may make it fewer.
_MOST_TOGETHER: Final = 1_024
# A fast model answers more flowers than these sooner than Redis finds them, so they are not looked for there.
_MOST_REMOTE: Final = 32
# Of more than these two in three would have to be known here before looking for them costs less than a fast model does,
# and keeping them drives out what small requests ask for again.
_MOST_LOCAL: Final = 64


class PredictionService:
    """One loaded model and what surrounds it. `clock` gives the time of day in seconds since 1970 for the records."""

    def __init__(
        self,
        model: Model,
        caches: tuple[LocalCache, RemoteCache],
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
        self._rows = RowEncoder(identity, model.width, manifest.classes)
        # One thread: the model answers one call at a time.
        self._thread = ThreadPoolExecutor(1, "inference") if model.warm_seconds > SLOW_SECONDS else None
        self._most = _most_together(model)
        self._asked: list[Ask] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def predict(self, request_id: str, instances: Sequence[Instance]) -> "asyncio.Future[Answer]":
        """Predict the class of each instance, and have it recorded under `request_id`.

        The future raises InferenceError, which was counted, when the model does not answer, and ProblemError when the
        record of the answer could not be kept.
        """
        awaited = Awaited(request_id, instances)
        self.ask(awaited)
        return awaited.answer

    def ask(self, ask: Ask) -> None:
        """Serve `ask` together with the others of this turn. It is told what becomes of it."""
        if not self._asked:
            # Begins after all that this turn has read from the network has been asked for.
            self._spawn(self._serve_asked())
        self._asked.append(ask)

    async def finish(self) -> None:
        """Return when nobody is being served, of those who had asked by now."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def beside(self, recorder: Recorder, metrics: ServiceCounts) -> "PredictionService":
        """Another one for the same model and caches, with records and counts of its own. Not to be closed."""
        other = PredictionService(
            self._model, (self._local, self._remote), recorder, metrics, self._revision, self._clock
        )
        # The model answers one call at a time, whoever asks. No thread of the other's pool has begun.
        other._thread = self._thread
        return other

    def close(self) -> None:
        """End the model's thread, when it has one, after what it is doing."""
        if self._thread:
            self._thread.shutdown()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_asked(self) -> None:
        asked, self._asked = self._asked, []
        first, *others = _groups(asked, self._most)
        for group in others:
            self._spawn(self._serve(group))
        await self._serve(first)

    async def _serve(self, asks: Sequence[Ask]) -> None:
        try:
            self._metrics.features.observe(values_of(asks))
            await self._find(asks)
            if missing := [ask for ask in asks if ask.missing]:
                await self._compute(missing)
            await self._finish([ask for ask in asks if not ask.missing])
        except Exception as error:  # noqa: BLE001 - each of them answers with it, and logs it
            for ask in asks:
                ask.fail(error)
        except asyncio.CancelledError:
            # Nobody may wait for an answer that does not come any more.
            for ask in asks:
                ask.fail(RuntimeError("the work on the request was given up"))
            raise

    async def _find(self, asks: Sequence[Ask]) -> None:
        """Take what is known from the caches."""
        if not self._is_sought(asks, _MOST_LOCAL):
            return
        known = self._local.get(missing_of(asks))
        if any(known):
            share(asks, known, LOCAL)
        asks = [ask for ask in asks if ask.missing]
        if asks and self._is_sought(asks, _MOST_REMOTE):
            flowers = missing_of(asks)
            found = await self._remote.get(flowers)
            if any(found):
                self._local.put(*zip(*[known for known in zip(flowers, found, strict=True) if known[1]], strict=True))
                share(asks, found, REDIS)

    async def _compute(self, asks: Sequence[Ask]) -> None:
        """Have the model answer what is missing. When it fails with some together, each is tried alone."""
        flowers = missing_of(asks)
        predictions, seconds = await self._infer(flowers)
        if not isinstance(predictions, InferenceError):
            self._metrics.inference(seconds, len(asks))
            if self._is_sought(asks, _MOST_LOCAL):
                predictions = list(predictions)
                self._local.put(flowers, predictions)
            if self._is_sought(asks, _MOST_REMOTE):
                self._remote.put(flowers, predictions)
            share(asks, predictions, MODEL)
        elif len(asks) > 1:
            for ask in asks:
                await self._compute([ask])
        else:
            self._metrics.inference(seconds)
            self._metrics.failure(predictions.reason)
            asks[0].fail(predictions)

    async def _finish(self, asks: Sequence[Ask]) -> None:
        """Have the predictions recorded, then let them go."""
        if not asks:
            return
        at = self._clock()
        entries = [self._rows.entry(ask.request_id, at, ask.values, ask.found) for ask in asks]
        classes: list[int] = []
        for ask, refusal in zip(asks, await self._recorder.submit(entries), strict=True):
            if refusal:
                ask.fail(refusal)
            else:
                classes += classes_of(ask.found)
                ask.succeed()
        for class_index in set(classes):
            self._metrics.predicted(class_index, classes.count(class_index))

    async def _infer(self, flowers: Sequence[Packed]) -> tuple[Sequence[Prediction] | InferenceError, float]:
        if self._thread is None:
            return self._timed(flowers)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, flowers)

    def _timed(self, flowers: Sequence[Packed]) -> tuple[Sequence[Prediction] | InferenceError, float]:
        """What the model answers or why it does not, and how long it took. Seconds."""
        started = time.perf_counter()
        answer: Sequence[Prediction] | InferenceError
        try:
            answer = self._model.predict(flowers)
        except InferenceError as error:
            answer = error
        return answer, time.perf_counter() - started

    def _is_sought(self, asks: Sequence[Ask], most: int) -> bool:
        """Whether a tier of the cache is worth its time, which for a fast model it is up to `most` flowers."""
        return self._thread is not None or len(asks[0].instances) <= most


def _most_together(model: Model) -> int:
    """How many flowers the model is asked for at once, unless a single request has more. 1: one request at a time."""
    if not model.separable:
        return 1
    # No longer than a single flower may hold up the event loop.
    return max(1, min(_MOST_TOGETHER, int(SLOW_SECONDS / model.warm_seconds)))


def _groups(asks: Sequence[Ask], most: int) -> list[list[Ask]]:
    """The requests in their order, in groups of `most` flowers. One that is not looked for in Redis is alone."""
    groups: list[list[Ask]] = []
    room = 0
    for ask in asks:
        size = len(ask.instances)
        if size > room or size > _MOST_REMOTE:
            groups.append([])
            room = most if size <= _MOST_REMOTE else 0
        groups[-1].append(ask)
        room -= size
    return groups
