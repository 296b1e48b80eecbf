"""What is measured of whom, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.inference.contestant import Contestant
from bench.inference.contestants import CONTESTANTS, OURS

BATCH: Final = 256
# Few enough to be all in the nearer cache before the measurement begins.
REPEATED: Final = 200


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table: a contestant, the flowers in a request, and whether they are new in each request."""

    name: str
    title: str
    contestant: Contestant
    instances: int = 1
    distinct: bool = True


BARE: Final = "bare"
MISSES: Final = "ours"
HITS: Final = "ours-hits"
FOREST_MISSES: Final = "ours-forest"
BATCHES: Final = "ours-batch"
MLSERVER: Final = "mlserver"
MLSERVER_FOREST: Final = "mlserver-forest"

CASES: Final = {
    case.name: case
    for case in (
        Case(BARE, "bare ASGI", CONTESTANTS["bare"]),
        Case("onnx-asgi", "ONNX behind plain ASGI", CONTESTANTS["onnx-asgi"]),
        Case("plain", "FastAPI + scikit-learn", CONTESTANTS["plain"]),
        Case("plain-forest", "FastAPI + scikit-learn", CONTESTANTS["plain-forest"]),
        Case("bentoml", "BentoML", CONTESTANTS["bentoml"]),
        Case("bentoml-forest", "BentoML", CONTESTANTS["bentoml-forest"]),
        Case(MLSERVER, "MLServer", CONTESTANTS["mlserver"]),
        Case(MLSERVER_FOREST, "MLServer", CONTESTANTS["mlserver-forest"]),
        Case(MISSES, "ours", CONTESTANTS[OURS]),
        Case(HITS, "ours, all cached", CONTESTANTS[OURS], distinct=False),
        Case(FOREST_MISSES, "ours", CONTESTANTS[f"{OURS}-forest"]),
        Case(BATCHES, f"ours, batches of {BATCH}", CONTESTANTS[OURS], instances=BATCH),
    )
}


def order(cases: Sequence[Case], repetition: int, repetitions: int) -> list[Case]:
    """The cases of one repetition. Each begins at another place: no case is always first, or always the last."""
    shift = repetition * len(cases) // repetitions
    return [*cases[shift:], *cases[:shift]]
