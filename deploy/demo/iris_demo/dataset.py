"""Real Iris measurements, varied within their rounding error so that few repeat."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from itertools import accumulate
from typing import NamedTuple

Features = tuple[float, float, float, float]

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")

# The data set is recorded to 0.1 cm: any length within half of that would have been rounded to the
# same value. Sampling from that range keeps the instances realistic and still makes them distinct,
# so that the service's cache cannot answer in the model's place.
HALF_ROUNDING_CM = 0.05

# The species' shares of the traffic. Not equal, as in the data set: with equal shares, a model that exchanges two
# species still predicts each as often as it should.
SPECIES_SHARES = {"setosa": 0.6, "versicolor": 0.2, "virginica": 0.2}


class Instance(NamedTuple):
    """Features, lengths in centimetres, and the true species."""

    features: Features
    species: str


def recorded_instances() -> list[Instance]:
    """The 150 instances of the data set."""
    text = resources.files("iris_demo").joinpath("data/iris.csv").read_text(encoding="utf-8")
    return [
        Instance(
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


def sample_instances(seed: int) -> Iterator[Instance]:
    """Endless instances sampled from the data set in the shares of `SPECIES_SHARES`; deterministic for a seed."""
    # Test data, not a secret: a reproducible generator is needed.
    rng = random.Random(seed)  # noqa: S311
    recorded = recorded_instances()
    counts = Counter(instance.species for instance in recorded)
    weights = list(accumulate(SPECIES_SHARES[each.species] / counts[each.species] for each in recorded))
    while True:
        (instance,) = rng.choices(recorded, cum_weights=weights)
        features = instance.features
        yield instance._replace(
            features=(
                _jitter(features[0], rng),
                _jitter(features[1], rng),
                _jitter(features[2], rng),
                _jitter(features[3], rng),
            )
        )


def _jitter(length: float, rng: random.Random) -> float:
    return round(length + rng.uniform(-HALF_ROUNDING_CM, HALF_ROUNDING_CM), 4)
