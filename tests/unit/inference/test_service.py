"""Requests that are served together: each keeps its own answer, its own failure and its own place in the counts."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.inference.models import Exported, exported
from iris_inference import copyrows
from iris_inference.artifact import read_artifact, read_manifest
from iris_inference.asks import Answer
from iris_inference.cache import NoCache, RemoteCache
from iris_inference.local_cache import LocalCache
from iris_inference.predictions import Prediction
from iris_inference.problems import ProblemError
from iris_inference.recorder import _not_kept
from iris_inference.records import BacklogFullError, Entry, NoRecorder, Recorder, Refusal
from iris_inference.runtime import InferenceError, Instance, Model, Packed
from iris_inference.schemas import FEATURES
from iris_inference.service import PredictionService
from iris_inference.telemetry import Metrics
from unit.inference import graphs

__all__ = ["exported"]

SOUND, NAN = (1.0, 1.0, 1.0, 1.0), (-1.0, -1.0, -1.0, -1.0)


class Noted:
    """A model that notes how many flowers each call brings."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, flowers: Sequence[Packed]) -> Sequence[Prediction]:
        self.calls.append(len(flowers))
        return self._model.predict(flowers)


class Shelf(NoCache):
    """A remote cache that keeps what it is told and notes what it is asked."""

    def __init__(self) -> None:
        self.kept: dict[Packed, Prediction] = {}
        self.asked: list[int] = []

    async def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        self.asked.append(len(flowers))
        await asyncio.sleep(0)
        return [self.kept.get(flower) for flower in flowers]

    def put(self, flowers: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        self.kept.update(zip(flowers, predictions, strict=True))


class Notebook(NoRecorder):
    """A recorder that refuses some requests and notes what it is given at once."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.given: list[list[str]] = []

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        names = [copyrows.request_id(copyrows.rows(entry)) for entry in entries]
        self.given.append(names)
        return [_not_kept(BacklogFullError("full")) if name in self.refused else None for name in names]


class Bench:
    """A service and all that it works with."""

    def __init__(
        self, model: Model, remote: RemoteCache | None = None, recorder: Recorder | None = None, capacity: int = 0
    ) -> None:
        self.model = Noted(model)
        self.metrics = Metrics(model.manifest, FEATURES)
        self.service = PredictionService(
            self.model,  # type: ignore[arg-type]  # it is one in all but its class
            (LocalCache(self.metrics, capacity), remote or NoCache()),
            recorder or NoRecorder(),
            self.metrics,
            "r",
        )

    async def together(self, *requests: Sequence[Instance]) -> list[Answer | BaseException]:
        asked = [self.service.predict(str(number), request) for number, request in enumerate(requests)]
        return await asyncio.gather(*asked, return_exceptions=True)

    def counted(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


class Undisturbed(Model):
    """As fast as on an idle machine: how many requests share a call depends on that. Tests may set it to be slow."""

    def _warm_up(self) -> float:
        super()._warm_up()
        return 1e-5


def model(graph: bytes) -> Model:
    return Undisturbed(graphs.artifact(graph), FEATURES)


def real(folder: Path) -> Model:
    return Undisturbed(read_artifact(folder, read_manifest(folder)), FEATURES)


def flowers(count: int) -> list[Instance]:
    chance = np.random.default_rng(3)
    return [tuple(row) for row in chance.uniform((4, 2, 1, 0), (8, 4.5, 7, 2.6), (count, 4)).round(2).tolist()]


def predictions(answers: Sequence[Answer | BaseException]) -> list[list[Prediction]]:
    return [list(answer.predictions) for answer in answers if isinstance(answer, Answer)]


async def test_requests_of_one_turn_are_one_call_of_the_model_and_each_gets_its_own() -> None:
    bench = Bench(model(graphs.root()))
    answers = await bench.together([(1.0, 1.0, 1.0, 1.0)], [(4.0, 4.0, 4.0, 4.0), SOUND], [(9.0, 9.0, 9.0, 9.0)])
    assert bench.model.calls == [4]
    assert [[found.probabilities[0] for found in one] for one in predictions(answers)] == [[2.0], [4.0, 2.0], [6.0]]
    assert bench.counted("model_inference_duration_seconds_count") == 3
    assert bench.counted("model_predictions_total", **{"class": "setosa"}) == 4


@pytest.mark.parametrize("recipe", ["1.0.0", "2.0.0"])
async def test_an_answer_is_the_same_to_the_last_bit_alone_and_in_any_company(exported: Exported, recipe: str) -> None:
    """Seen to fail without the second row that `Model.predict` adds to a single one."""
    served = real(exported(recipe))
    assert served.separable
    rows = flowers(150)
    alone = [await Bench(served).together([row]) for row in rows]
    for size in (2, 3, 7, 50, 150):
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        for group in groups:
            company = predictions(await Bench(served).together(*[[row] for row in group]))
            first = rows.index(group[0])
            assert company == [predictions(one)[0] for one in alone[first : first + len(group)]]
    (batch,) = predictions(await Bench(served).together(rows))
    assert [[found] for found in batch] == [predictions(one)[0] for one in alone]


async def test_a_model_whose_answers_depend_on_company_is_asked_for_one_request_at_a_time() -> None:
    blending = model(graphs.blending())
    assert not blending.separable
    bench = Bench(blending)
    alone = predictions([*await bench.together([SOUND]), *await bench.together([(2.0, 2.0, 2.0, 2.0)])])
    assert predictions(await bench.together([SOUND], [(2.0, 2.0, 2.0, 2.0)])) == alone
    assert bench.model.calls == [1] * 4


async def test_a_request_that_makes_the_model_fail_fails_alone() -> None:
    """Seen to fail with a failure that is given to all who were asked for together."""
    bench = Bench(model(graphs.root()), recorder=(notebook := Notebook()))
    answers = await bench.together([SOUND], [NAN], [SOUND, NAN], [(4.0, 4.0, 4.0, 4.0)])
    assert [isinstance(answer, InferenceError) for answer in answers] == [False, True, True, False]
    assert [one[0].probabilities[0] for one in predictions(answers)] == [2.0, 4.0]
    assert bench.counted("model_inference_failures_total", reason="non_finite") == 2
    assert bench.counted("model_inference_duration_seconds_count") == 4
    assert bench.counted("model_predictions_total", **{"class": "setosa"}) == 2
    assert notebook.given == [["0", "3"]]


async def test_a_record_that_is_refused_costs_only_its_own_request_the_answer() -> None:
    bench = Bench(model(graphs.root()), recorder=Notebook("1"))
    answers = await bench.together([SOUND], [SOUND], [SOUND])
    assert [isinstance(answer, ProblemError) for answer in answers] == [False, True, False]
    assert bench.counted("model_predictions_total", **{"class": "setosa"}) == 2


async def test_records_of_requests_that_came_together_are_handed_on_together_and_in_order() -> None:
    bench = Bench(model(graphs.root()), recorder=(notebook := Notebook()))
    await bench.together(*[[SOUND]] * 20)
    assert notebook.given == [[str(number) for number in range(20)]]


async def test_a_client_that_goes_away_takes_nothing_from_the_others() -> None:
    bench = Bench(model(graphs.root()), recorder=(notebook := Notebook()))
    gone = bench.service.predict("gone", [SOUND])
    stays = bench.service.predict("stays", [(4.0, 4.0, 4.0, 4.0)])
    gone.cancel()
    assert (await stays).predictions[0].probabilities[0] == 4.0
    # It was predicted, so it is recorded: that nobody waits any more is seen too late.
    assert notebook.given == [["gone", "stays"]]


async def test_both_tiers_are_asked_once_for_all_and_the_source_of_each_answer_is_told() -> None:
    shelf = Shelf()
    bench = Bench(model(graphs.root()), remote=shelf, capacity=10)
    known_here, known_there, new = SOUND, (4.0, 4.0, 4.0, 4.0), (9.0, 9.0, 9.0, 9.0)
    await bench.together([known_here])
    await Bench(model(graphs.root()), remote=shelf).together([known_there])
    shelf.asked.clear()
    answers = await bench.together([known_here], [known_there], [new], [known_here, new], [known_there, known_here])
    sources = [answer.source for answer in answers if isinstance(answer, Answer)]
    assert sources == ["local", "redis", "model", "mixed", "mixed"]
    assert shelf.asked == [4]
    assert bench.model.calls == [1, 2]
    assert bench.counted("cache_requests_total", tier="local", result="hit") == 3
    assert bench.counted("cache_requests_total", tier="local", result="miss") == 1 + 4


async def test_what_came_from_the_remote_tier_is_known_here_afterwards() -> None:
    shelf = Shelf()
    await Bench(model(graphs.root()), remote=shelf).together([SOUND])
    bench = Bench(model(graphs.root()), remote=shelf, capacity=10)
    sources = [one.source for _ in range(2) for one in await bench.together([SOUND]) if isinstance(one, Answer)]
    assert sources == ["redis", "local"]


async def test_a_large_request_is_not_looked_for_far_away() -> None:
    bench = Bench(model(graphs.root()), remote=(shelf := Shelf()))
    await bench.together([SOUND], flowers(33), [SOUND])
    assert shelf.asked == [1, 1]
    assert len(shelf.kept) == 1


async def test_each_flower_of_a_large_request_is_counted_once() -> None:
    bench = Bench(model(graphs.root()))
    many = flowers(100)
    await bench.together(many, [SOUND], [SOUND])
    assert bench.counted("model_feature_count", feature="petal_width") == 102
    total = bench.counted("model_feature_sum", feature="petal_width")
    assert total == pytest.approx(sum(flower[3] for flower in many) + 2.0)


async def test_a_large_request_leaves_the_memory_to_the_small_ones() -> None:
    """Seen to fail when it was looked for, and when it was only kept, which drove out what small ones ask for again."""
    bench = Bench(model(graphs.root()), capacity=50)
    await bench.together([SOUND])
    answers = [*await bench.together(flowers(65)), *await bench.together(flowers(65)), *await bench.together([SOUND])]
    assert [answer.source for answer in answers if isinstance(answer, Answer)] == ["model", "model", "local"]
    assert bench.counted("cache_requests_total", tier="local", result="miss") == 1


async def test_a_large_request_to_a_slow_model_is_looked_for_everywhere() -> None:
    slow = model(graphs.root())
    slow.warm_seconds = 0.1
    bench = Bench(slow, remote=(shelf := Shelf()), capacity=1_000)
    answers = [*await bench.together(flowers(100)), *await bench.together(flowers(100))]
    assert [answer.source for answer in answers if isinstance(answer, Answer)] == ["model", "local"]
    assert shelf.asked == [100]
    assert len(shelf.kept) == len(set(flowers(100)))
    bench.service.close()


async def test_a_large_request_of_which_some_is_known_gets_all_in_its_order() -> None:
    bench = Bench(model(graphs.root()), capacity=1_000)
    many = flowers(64)
    await bench.together(many[10:60:7])
    (answer,) = await bench.together(many)
    assert isinstance(answer, Answer)
    assert answer.source == "mixed"
    (alone,) = predictions(await Bench(model(graphs.root())).together(many))
    assert list(answer.predictions) == alone


async def test_no_call_of_the_model_holds_the_others_up_for_long() -> None:
    slowish = model(graphs.root())
    slowish.warm_seconds = 0.001
    bench = Bench(slowish)
    await bench.together(*[[SOUND]] * 5)
    assert bench.model.calls == [2, 2, 1]


async def test_a_slow_model_answers_one_request_at_a_time_and_the_loop_goes_on() -> None:
    slow = model(graphs.root())
    slow.warm_seconds = 0.1
    bench = Bench(slow)
    answers = await bench.together([SOUND], [NAN], [(4.0, 4.0, 4.0, 4.0)])
    assert bench.model.calls == [1, 1, 1]
    assert [one[0].probabilities[0] for one in predictions(answers)] == [2.0, 4.0]
    bench.service.close()


async def test_what_nobody_thought_of_is_told_to_all_who_waited_for_it() -> None:
    class Broken(NoRecorder):
        async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
            raise RuntimeError(f"a bug with {len(entries)} entries")

    answers = await Bench(model(graphs.root()), recorder=Broken()).together([SOUND], [SOUND])
    assert [str(answer) for answer in answers] == ["a bug with 2 entries"] * 2


async def test_requests_are_answered_also_when_the_work_on_them_is_cancelled() -> None:
    """Seen to fail: they waited for ever."""

    class Cancelled(NoCache):
        async def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:  # noqa: ARG002 - as the Protocol has it
            raise asyncio.CancelledError

    async with asyncio.timeout(5):
        answers = await Bench(model(graphs.root()), remote=Cancelled()).together([SOUND], [SOUND])
    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError]
