from collections.abc import Sequence

from iris_inference.cache import Codec, NoCache
from iris_inference.local_cache import LocalCache
from iris_inference.runtime import Instance, Prediction
from iris_inference.schemas import FEATURES
from iris_inference.telemetry import Metrics
from unit.inference import graphs

A, B, C = (1.0, 1.0, 1.0, 1.0), (2.0, 2.0, 2.0, 2.0), (3.0, 3.0, 3.0, 3.0)
ANSWERS: dict[Instance, Prediction] = {
    A: Prediction(0, (1.0, 0.0, 0.0)),
    B: Prediction(1, (0.0, 1.0, 0.0)),
    C: Prediction(2, (0.0, 0.0, 1.0)),
}


class Behind(NoCache):
    """A tier that knows what it is told to know and notes what it is asked."""

    def __init__(self, *known: Instance) -> None:
        self.known = set(known)
        self.asked: list[Instance] = []
        self.written: list[Instance] = []

    async def get(self, instances: Sequence[Instance]) -> list[Prediction | None]:
        self.asked.extend(instances)
        return [ANSWERS[instance] if instance in self.known else None for instance in instances]

    def put(self, instances: Sequence[Instance], predictions: Sequence[Prediction]) -> None:
        del predictions
        self.written.extend(instances)


def cache(behind: NoCache, capacity: int) -> tuple[LocalCache, Metrics]:
    metrics = Metrics(graphs.artifact(b"").manifest, FEATURES)
    return LocalCache(behind, Codec("a" * 64, 3), metrics, capacity), metrics


def put(local: LocalCache, *instances: Instance) -> None:
    local.put(instances, [ANSWERS[instance] for instance in instances])


def counted(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("cache_requests_total", {"tier": "local", "result": result})


async def test_what_is_known_here_is_not_asked_behind() -> None:
    behind = Behind(B)
    local, metrics = cache(behind, 10)
    put(local, A)
    assert await local.get([A, B, C]) == [ANSWERS[A], ANSWERS[B], None]
    assert behind.asked == [B, C]
    assert (counted(metrics, "hit"), counted(metrics, "miss")) == (1, 2)


async def test_what_came_from_behind_is_known_here_afterwards() -> None:
    behind = Behind(B)
    local, _ = cache(behind, 10)
    await local.get([B])
    assert await local.get([B]) == [ANSWERS[B]]
    assert behind.asked == [B]


async def test_what_is_new_is_passed_on() -> None:
    behind = Behind()
    local, _ = cache(behind, 10)
    put(local, A, B)
    assert behind.written == [A, B]


async def test_the_one_that_was_not_used_for_longest_makes_room() -> None:
    local, _ = cache(Behind(), 2)
    put(local, A, B)
    await local.get([A])
    put(local, C)
    assert await local.get([A, B, C]) == [ANSWERS[A], None, ANSWERS[C]]


async def test_it_never_holds_more_than_it_may() -> None:
    local, _ = cache(Behind(), 100)
    for number in range(1_000):
        local.put([(float(number), 0.0, 0.0, 0.0)], [ANSWERS[A]])
    known = await local.get([(float(number), 0.0, 0.0, 0.0) for number in range(1_000)])
    assert [prediction is not None for prediction in known] == [False] * 900 + [True] * 100
