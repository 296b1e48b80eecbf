"""Real Iris measurements, varied within their own rounding so that few repeat."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from itertools import accumulate
from typing import NamedTuple

Row = tuple[float, float, float, float]

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")

# The data set was recorded to 0.1 cm: any length within half of that would have been written down
# as the same flower. Drawing from that range keeps the rows real and still makes them distinct,
# so that the service's cache cannot answer in the model's place.
HALF_OF_THE_ROUNDING_CM = 0.05

# The species' shares of the traffic. Not as many of each, which is how the data set was collected and not how anything
# grows: among equal shares, a model that takes two species for each other predicts each as often as it should.
MIX = {"setosa": 0.6, "versicolor": 0.2, "virginica": 0.2}


class Flower(NamedTuple):
    """What is measured, lengths in centimetres, and what it is."""

    measured: Row
    species: str


def recorded_flowers() -> list[Flower]:
    """The 150 recorded flowers."""
    text = resources.files("iris_demo").joinpath("data/iris.csv").read_text(encoding="utf-8")
    return [
        Flower(
            (
                float(line["sepal_length"]),
                float(line["sepal_width"]),
                float(line["petal_length"]),
                float(line["petal_width"]),
            ),
            line["label"],
        )
        for line in csv.DictReader(text.splitlines())
    ]


def varied_flowers(seed: int) -> Iterator[Flower]:
    """Endless flowers drawn from the recorded ones in the shares of `MIX`; the same seed gives the same flowers."""
    # Test data, not a secret: a reproducible generator is what is wanted.
    rng = random.Random(seed)  # noqa: S311
    recorded = recorded_flowers()
    of_each = Counter(flower.species for flower in recorded)
    chances = list(accumulate(MIX[flower.species] / of_each[flower.species] for flower in recorded))
    while True:
        (flower,) = rng.choices(recorded, cum_weights=chances)
        measured = flower.measured
        yield flower._replace(
            measured=(
                _within_rounding(measured[0], rng),
                _within_rounding(measured[1], rng),
                _within_rounding(measured[2], rng),
                _within_rounding(measured[3], rng),
            )
        )


def _within_rounding(length: float, rng: random.Random) -> float:
    return round(length + rng.uniform(-HALF_OF_THE_ROUNDING_CM, HALF_OF_THE_ROUNDING_CM), 4)
