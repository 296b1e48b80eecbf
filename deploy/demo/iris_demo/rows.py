"""Real Iris measurements, varied within their own rounding so that few repeat."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from importlib import resources

Row = tuple[float, float, float, float]

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")

# The data set was recorded to 0.1 cm: any length within half of that would have been written down
# as the same flower. Drawing from that range keeps the rows real and still makes them distinct,
# so that the service's cache cannot answer in the model's place.
HALF_OF_THE_ROUNDING_CM = 0.05


def recorded_rows() -> list[Row]:
    """The 150 recorded flowers, lengths in centimetres."""
    text = resources.files("iris_demo").joinpath("data/iris.csv").read_text(encoding="utf-8")
    return [
        (
            float(line["sepal_length"]),
            float(line["sepal_width"]),
            float(line["petal_length"]),
            float(line["petal_width"]),
        )
        for line in csv.DictReader(text.splitlines())
    ]


def varied_rows(seed: int) -> Iterator[Row]:
    """Endless rows drawn from the recorded ones; the same seed gives the same rows."""
    # Test data, not a secret: a reproducible generator is what is wanted.
    rng = random.Random(seed)  # noqa: S311
    recorded = recorded_rows()
    while True:
        flower = rng.choice(recorded)
        yield (
            _within_rounding(flower[0], rng),
            _within_rounding(flower[1], rng),
            _within_rounding(flower[2], rng),
            _within_rounding(flower[3], rng),
        )


def _within_rounding(length: float, rng: random.Random) -> float:
    return round(length + rng.uniform(-HALF_OF_THE_ROUNDING_CM, HALF_OF_THE_ROUNDING_CM), 4)
