"""Batches: each request gets its own predictions, its own failure and its own counts."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iris_inference import metric_names
from iris_inference.api.schemas import FEATURES
from iris_inference.cache.base import NoCache, RemoteCache
from iris_inference.cache.memory_cache import MemoryCache
from iris_inference.metrics.registry import Metrics
from iris_inference.model.artifact import read_artifact, read_manifest
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import InferenceError, Instance, Model, Packed
from iris_inference.prediction.batch import PredictionResult
from iris_inference.prediction.service import PredictionService
from iris_inference.recording import copy_format
from iris_inference.recording.record import Entry, NoRecorder, Recorder, RecordNotKeptError, Refusal
from support.inference import graphs
from support.inference.models import Exported, exported

__all__ = ["exported"]

VALID, NAN = (1.0, 1.0, 1.0, 1.0), (-1.0, -1.0, -1.0, -1.0)


class CallRecordingModel:
    """A model that records the number of instances of each call."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, packed: Sequence[Packed]) -> Sequence[Prediction]:
        self.calls.append(len(packed))
        return self._model.predict(packed)


class FakeRemoteCache(NoCache):
    """A remote cache that records the size of each lookup."""

    def __init__(self) -> None:
        self.entries: dict[Packed, Prediction] = {}
        self.lookups: list[int] = []

    async def get(self, packed: Sequence[Packed]) -> list[Prediction | None]:
        self.lookups.append(len(packed))
        await asyncio.sleep(0)
        return [self.entries.get(instance) for instance in packed]

    def put(self, packed: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        self.entries.update(zip(packed, predictions, strict=True))


class FakeRecorder(NoRecorder):
    """A recorder that rejects some requests and records the batches that it gets."""

    def __init__(self, *refused: str) -> None:
        self.rejected = refused
        self.batches: list[list[str]] = []

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        names = [copy_format.first_request_id(copy_format.to_rows(entry)) for entry in entries]
        self.batches.append(names)
        return [RecordNotKeptError("full") if name in self.rejected else None for name in names]


class ServiceFixture:
    """A service with its collaborators."""

    def __init__(
        self, model: Model, remote: RemoteCache | None = None, recorder: Recorder | None = None, capacity: int = 0
    ) -> None:
        self.model = CallRecordingModel(model)
        self.metrics = Metrics(model.manifest, FEATURES)
        self.service = PredictionService(
            self.model,  # type: ignore[arg-type]  # it behaves like a Model
            (MemoryCache(self.metrics, capacity), remote or NoCache()),
            recorder or NoRecorder(),
            self.metrics,
            "r",
        )

    async def predict_concurrently(self, *requests: Sequence[Instance]) -> list[PredictionResult | BaseException]:
        futures = [self.service.predict(str(number), request) for number, request in enumerate(requests)]
        return await asyncio.gather(*futures, return_exceptions=True)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


class FastModel(Model):
    """A model with the inference time of an idle machine, which decides the batch size. Tests may set a slow one."""

    def _warm_up(self) -> float:
        super()._warm_up()
        return 1e-5


def model(graph: bytes) -> Model:
    return FastModel(graphs.artifact(graph), FEATURES)


def load_model(folder: Path) -> Model:
    return FastModel(read_artifact(folder, read_manifest(folder)), FEATURES)


def random_instances(count: int) -> list[Instance]:
    random = np.random.default_rng(3)
    return [tuple(row) for row in random.uniform((4, 2, 1, 0), (8, 4.5, 7, 2.6), (count, 4)).round(2).tolist()]


def predictions(results: Sequence[PredictionResult | BaseException]) -> list[list[Prediction]]:
    return [list(result.predictions) for result in results if isinstance(result, PredictionResult)]


async def test_concurrent_requests_share_a_call_of_the_model_and_get_their_own_predictions() -> None:
    fixture = ServiceFixture(model(graphs.square_root()))
    results = await fixture.predict_concurrently(
        [(1.0, 1.0, 1.0, 1.0)], [(4.0, 4.0, 4.0, 4.0), VALID], [(9.0, 9.0, 9.0, 9.0)]
    )
    assert fixture.model.calls == [4]
    assert [[prediction.probabilities[0] for prediction in one] for one in predictions(results)] == [
        [2.0],
        [4.0, 2.0],
        [6.0],
    ]
    assert fixture.metric(f"{metric_names.INFERENCE_DURATION}_count") == 3
    assert fixture.metric(metric_names.PREDICTIONS, **{"class": "setosa"}) == 4


@pytest.mark.parametrize("recipe", ["1.0.0", "2.0.0"])
async def test_a_prediction_is_bit_identical_alone_and_in_any_batch(exported: Exported, recipe: str) -> None:
    """Seen to fail when `Model.predict` does not duplicate a single row."""
    served = load_model(exported(recipe))
    assert served.batch_invariant
    rows = random_instances(150)
    alone = [await ServiceFixture(served).predict_concurrently([row]) for row in rows]
    for size in (2, 3, 7, 50, 150):
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        for group in groups:
            batched = predictions(await ServiceFixture(served).predict_concurrently(*[[row] for row in group]))
            first = rows.index(group[0])
            assert batched == [predictions(one)[0] for one in alone[first : first + len(group)]]
    (batch,) = predictions(await ServiceFixture(served).predict_concurrently(rows))
    assert [[found] for found in batch] == [predictions(one)[0] for one in alone]


async def test_a_batch_dependent_model_gets_one_request_per_call() -> None:
    dependent = model(graphs.batch_dependent())
    assert not dependent.batch_invariant
    fixture = ServiceFixture(dependent)
    alone = predictions(
        [*await fixture.predict_concurrently([VALID]), *await fixture.predict_concurrently([(2.0, 2.0, 2.0, 2.0)])]
    )
    assert predictions(await fixture.predict_concurrently([VALID], [(2.0, 2.0, 2.0, 2.0)])) == alone
    assert fixture.model.calls == [1] * 4


async def test_a_request_that_makes_the_model_fail_fails_alone() -> None:
    """Seen to fail with a failure that is given to all requests of the batch."""
    fixture = ServiceFixture(model(graphs.square_root()), recorder=(recorder := FakeRecorder()))
    results = await fixture.predict_concurrently([VALID], [NAN], [VALID, NAN], [(4.0, 4.0, 4.0, 4.0)])
    assert [isinstance(result, InferenceError) for result in results] == [False, True, True, False]
    assert [one[0].probabilities[0] for one in predictions(results)] == [2.0, 4.0]
    assert fixture.metric(metric_names.INFERENCE_FAILURES, reason="non_finite") == 2
    assert fixture.metric(f"{metric_names.INFERENCE_DURATION}_count") == 4
    assert fixture.metric(metric_names.PREDICTIONS, **{"class": "setosa"}) == 2
    assert recorder.batches == [["0", "3"]]


async def test_a_rejected_record_fails_only_its_own_request() -> None:
    fixture = ServiceFixture(model(graphs.square_root()), recorder=FakeRecorder("1"))
    results = await fixture.predict_concurrently([VALID], [VALID], [VALID])
    assert [isinstance(result, RecordNotKeptError) for result in results] == [False, True, False]
    assert fixture.metric(metric_names.PREDICTIONS, **{"class": "setosa"}) == 2


async def test_the_records_of_a_batch_are_submitted_together_and_in_order() -> None:
    fixture = ServiceFixture(model(graphs.square_root()), recorder=(recorder := FakeRecorder()))
    await fixture.predict_concurrently(*[[VALID]] * 20)
    assert recorder.batches == [[str(number) for number in range(20)]]


async def test_a_cancelled_request_does_not_affect_the_others() -> None:
    fixture = ServiceFixture(model(graphs.square_root()), recorder=(recorder := FakeRecorder()))
    gone = fixture.service.predict("gone", [VALID])
    stays = fixture.service.predict("stays", [(4.0, 4.0, 4.0, 4.0)])
    gone.cancel()
    assert (await stays).predictions[0].probabilities[0] == 4.0
    # It was predicted, so it is recorded: the cancellation is seen too late.
    assert recorder.batches == [["gone", "stays"]]


async def test_each_tier_is_looked_up_once_per_batch_and_each_result_has_its_source() -> None:
    remote = FakeRemoteCache()
    fixture = ServiceFixture(model(graphs.square_root()), remote=remote, capacity=10)
    in_memory, in_redis, new = VALID, (4.0, 4.0, 4.0, 4.0), (9.0, 9.0, 9.0, 9.0)
    await fixture.predict_concurrently([in_memory])
    await ServiceFixture(model(graphs.square_root()), remote=remote).predict_concurrently([in_redis])
    remote.lookups.clear()
    results = await fixture.predict_concurrently(
        [in_memory], [in_redis], [new], [in_memory, new], [in_redis, in_memory]
    )
    sources = [result.source for result in results if isinstance(result, PredictionResult)]
    assert sources == ["local", "redis", "model", "mixed", "mixed"]
    assert remote.lookups == [4]
    assert fixture.model.calls == [1, 2]
    assert fixture.metric(metric_names.CACHE_REQUESTS, tier="local", result="hit") == 3
    assert fixture.metric(metric_names.CACHE_REQUESTS, tier="local", result="miss") == 1 + 4


async def test_predictions_from_the_remote_tier_are_cached_in_memory() -> None:
    remote = FakeRemoteCache()
    await ServiceFixture(model(graphs.square_root()), remote=remote).predict_concurrently([VALID])
    fixture = ServiceFixture(model(graphs.square_root()), remote=remote, capacity=10)
    sources = [
        one.source
        for _ in range(2)
        for one in await fixture.predict_concurrently([VALID])
        if isinstance(one, PredictionResult)
    ]
    assert sources == ["redis", "local"]


async def test_a_large_request_is_not_looked_up_in_the_remote_tier() -> None:
    fixture = ServiceFixture(model(graphs.square_root()), remote=(remote := FakeRemoteCache()))
    await fixture.predict_concurrently([VALID], random_instances(33), [VALID])
    assert remote.lookups == [1, 1]
    assert len(remote.entries) == 1


async def test_each_instance_of_a_large_request_is_counted_once() -> None:
    fixture = ServiceFixture(model(graphs.square_root()))
    many = random_instances(100)
    await fixture.predict_concurrently(many, [VALID], [VALID])
    assert fixture.metric(f"{metric_names.FEATURE}_count", feature="petal_width") == 102
    total = fixture.metric(f"{metric_names.FEATURE}_sum", feature="petal_width")
    assert total == pytest.approx(sum(instance[3] for instance in many) + 2.0)


async def test_a_large_request_does_not_evict_the_predictions_of_small_ones() -> None:
    """Seen to fail when it was looked up, and when it was only cached, which evicted the predictions of small ones."""
    fixture = ServiceFixture(model(graphs.square_root()), capacity=50)
    await fixture.predict_concurrently([VALID])
    results = [
        *await fixture.predict_concurrently(random_instances(65)),
        *await fixture.predict_concurrently(random_instances(65)),
        *await fixture.predict_concurrently([VALID]),
    ]
    assert [result.source for result in results if isinstance(result, PredictionResult)] == ["model", "model", "local"]
    assert fixture.metric(metric_names.CACHE_REQUESTS, tier="local", result="miss") == 1


async def test_a_large_request_to_a_slow_model_is_looked_up_in_all_tiers() -> None:
    slow = model(graphs.square_root())
    slow.inference_seconds = 0.1
    fixture = ServiceFixture(slow, remote=(remote := FakeRemoteCache()), capacity=1_000)
    results = [
        *await fixture.predict_concurrently(random_instances(100)),
        *await fixture.predict_concurrently(random_instances(100)),
    ]
    assert [result.source for result in results if isinstance(result, PredictionResult)] == ["model", "local"]
    assert remote.lookups == [100]
    assert len(remote.entries) == len(set(random_instances(100)))
    fixture.service.close()


async def test_a_partly_cached_large_request_gets_its_predictions_in_order() -> None:
    fixture = ServiceFixture(model(graphs.square_root()), capacity=1_000)
    many = random_instances(64)
    await fixture.predict_concurrently(many[10:60:7])
    (result,) = await fixture.predict_concurrently(many)
    assert isinstance(result, PredictionResult)
    assert result.source == "mixed"
    (alone,) = predictions(await ServiceFixture(model(graphs.square_root())).predict_concurrently(many))
    assert list(result.predictions) == alone


async def test_batches_are_limited_so_that_a_call_of_the_model_stays_short() -> None:
    slow = model(graphs.square_root())
    slow.inference_seconds = 0.001
    fixture = ServiceFixture(slow)
    await fixture.predict_concurrently(*[[VALID]] * 5)
    assert fixture.model.calls == [2, 2, 1]


async def test_a_slow_model_gets_one_request_per_call_and_does_not_block_the_loop() -> None:
    slow = model(graphs.square_root())
    slow.inference_seconds = 0.1
    fixture = ServiceFixture(slow)
    results = await fixture.predict_concurrently([VALID], [NAN], [(4.0, 4.0, 4.0, 4.0)])
    assert fixture.model.calls == [1, 1, 1]
    assert [one[0].probabilities[0] for one in predictions(results)] == [2.0, 4.0]
    fixture.service.close()


async def test_an_unexpected_error_fails_all_requests_of_the_batch() -> None:
    class FailingRecorder(NoRecorder):
        async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
            raise RuntimeError(f"a bug with {len(entries)} entries")

    results = await ServiceFixture(model(graphs.square_root()), recorder=FailingRecorder()).predict_concurrently(
        [VALID], [VALID]
    )
    assert [str(result) for result in results] == ["a bug with 2 entries"] * 2


async def test_requests_fail_when_their_batch_is_cancelled() -> None:
    """Seen to fail: they waited for ever."""

    class CancelledCache(NoCache):
        async def get(self, packed: Sequence[Packed]) -> list[Prediction | None]:  # noqa: ARG002 - as the Protocol has it
            raise asyncio.CancelledError

    async with asyncio.timeout(5):
        results = await ServiceFixture(model(graphs.square_root()), remote=CancelledCache()).predict_concurrently(
            [VALID], [VALID]
        )
    assert [type(result) for result in results] == [RuntimeError, RuntimeError]
