"""The benchmark's cases and their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.inference.server import ServerSpec
from bench.inference.servers import OURS, SERVERS

BATCH: Final = 256
# Few enough to be all in the local cache before the measurement begins.
REPEATED: Final = 200


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table: a server, the number of instances in a request, and whether every request has new ones."""

    name: str
    title: str
    server: ServerSpec
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
        Case(BARE, "bare ASGI", SERVERS["bare"]),
        Case("onnx-asgi", "ONNX behind plain ASGI", SERVERS["onnx-asgi"]),
        Case("plain", "FastAPI + scikit-learn", SERVERS["plain"]),
        Case("plain-forest", "FastAPI + scikit-learn", SERVERS["plain-forest"]),
        Case("bentoml", "BentoML", SERVERS["bentoml"]),
        Case("bentoml-forest", "BentoML", SERVERS["bentoml-forest"]),
        Case(MLSERVER, "MLServer", SERVERS["mlserver"]),
        Case(MLSERVER_FOREST, "MLServer", SERVERS["mlserver-forest"]),
        Case(MISSES, "ours", SERVERS[OURS]),
        Case(HITS, "ours, all cached", SERVERS[OURS], distinct=False),
        Case(FOREST_MISSES, "ours", SERVERS[f"{OURS}-forest"]),
        Case(BATCHES, f"ours, batches of {BATCH}", SERVERS[OURS], instances=BATCH),
    )
}


def order(cases: Sequence[Case], repetition: int, repetitions: int) -> list[Case]:
    """The cases of one repetition, rotated so that no case is always the first, or always the last."""
    shift = repetition * len(cases) // repetitions
    return [*cases[shift:], *cases[:shift]]
