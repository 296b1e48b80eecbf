"""Predicts: cache, then model, then cache and records behind the answer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from iris_inference.cache import PredictionCache
from iris_inference.records import RecordedInstance, Recorder, RequestRecord
from iris_inference.runtime import InferenceError, Instance, Model, Prediction
from iris_inference.telemetry import Metrics

# A model slower than this runs in a thread, so that probes and other requests are answered meanwhile.
# A faster one runs in the event loop: changing threads would cost more than the inference.
SLOW_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class Answer:
    """The predictions of one request, and where they came from: `cache`, `model` or `both`."""

    predictions: list[Prediction]
    source: str


class PredictionService:
    """One loaded model and what surrounds it. `clock` gives the time of day for the records."""

    def __init__(
        self,
        model: Model,
        cache: PredictionCache,
        recorder: Recorder,
        metrics: Metrics,
        revision: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.manifest = model.manifest
        self._model = model
        self._cache = cache
        self._recorder = recorder
        self._metrics = metrics
        self._revision = revision
        self._clock = clock
        # One thread: the model answers one call at a time.
        self._thread = ThreadPoolExecutor(1, "inference") if model.warm_seconds > SLOW_SECONDS else None

    async def predict(self, request_id: str, instances: Sequence[Instance]) -> Answer:
        """Predict the class of each instance, and have it recorded under `request_id`.

        Raises InferenceError, after counting it, when the model does not answer, and ProblemError when the record of
        the answer could not be kept.
        """
        self._metrics.features.observe(instances)
        known = await self._cache.get(instances)
        unknown = [instance for instance, prediction in zip(instances, known, strict=True) if prediction is None]
        computed: list[Prediction] = []
        if unknown:
            computed = await self._infer(unknown)
            self._cache.put(unknown, computed)
        fresh = iter(computed)
        predictions = [next(fresh) if prediction is None else prediction for prediction in known]
        await self._recorder.submit(self._record(request_id, instances, predictions))
        for prediction in predictions:
            self._metrics.predicted(prediction.class_index)
        return Answer(predictions, _source(len(instances), len(unknown)))

    def close(self) -> None:
        """End the model's thread, when it has one, after what it is doing."""
        if self._thread:
            self._thread.shutdown()

    async def _infer(self, instances: Sequence[Instance]) -> list[Prediction]:
        try:
            if self._thread is None:
                return self._timed(instances)
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, instances)
        except InferenceError as error:
            self._metrics.failure(error.reason)
            raise

    def _timed(self, instances: Sequence[Instance]) -> list[Prediction]:
        started = time.perf_counter()
        try:
            return self._model.predict(instances)
        finally:
            self._metrics.inference(time.perf_counter() - started)

    def _record(
        self, request_id: str, instances: Sequence[Instance], predictions: Sequence[Prediction]
    ) -> RequestRecord:
        classes = self.manifest.classes
        return RequestRecord(
            request_id=request_id,
            predicted_at=self._clock(),
            model_name=self.manifest.name,
            model_version=self.manifest.version,
            model_digest=self.manifest.sha256,
            revision=self._revision,
            instances=tuple(
                RecordedInstance(instance, classes[prediction.class_index], prediction.probabilities)
                for instance, prediction in zip(instances, predictions, strict=True)
            ),
        )


def _source(asked: int, computed: int) -> str:
    if computed == 0:
        return "cache"
    return "model" if computed == asked else "both"
