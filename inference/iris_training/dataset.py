"""The Iris data set as the recipes see it: 150 flowers, four lengths in centimetres, three species."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_iris

Matrix = NDArray[np.float32]
Labels = NDArray[np.int64]

FEATURES: Final = ("sepal_length", "sepal_width", "petal_length", "petal_width")
CLASSES: Final = ("setosa", "versicolor", "virginica")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of measurements in cm (float32, as the service will feed them) and the class index of each."""

    features: Matrix
    labels: Labels


def iris() -> Dataset:
    """The data set that scikit-learn ships."""
    bunch = load_iris()
    return Dataset(np.asarray(bunch.data, dtype=np.float32), np.asarray(bunch.target, dtype=np.int64))


def augmented(source: Dataset, rows: int, jitter_cm: float, seed: int) -> Dataset:
    """Draw `rows` flowers with replacement and blur each length by a normal error of `jitter_cm`."""
    random = np.random.default_rng(seed)
    picked = random.integers(0, len(source.labels), rows)
    blur = random.normal(0.0, jitter_cm, (rows, source.features.shape[1]))
    return Dataset((source.features[picked] + blur).astype(np.float32), source.labels[picked])


def random_points(count: int, seed: int) -> Matrix:
    """Points spread evenly over a box somewhat wider than the data set: where no flower grows, too."""
    random = np.random.default_rng(seed)
    return random.uniform((3.0, 1.0, 0.2, 0.0), (9.0, 5.5, 8.0, 3.5), (count, len(FEATURES))).astype(np.float32)
