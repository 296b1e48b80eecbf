"""The Iris data set as the recipes use it: 150 flowers, four lengths in centimetres, three species."""

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
    """Measurements in cm (float32, as in the service), one row per flower, and the class index of each row."""

    features: Matrix
    labels: Labels


def load_dataset() -> Dataset:
    """Load the data set that scikit-learn ships."""
    bunch = load_iris()
    return Dataset(np.asarray(bunch.data, dtype=np.float32), np.asarray(bunch.target, dtype=np.int64))


def augment(source: Dataset, rows: int, jitter_cm: float, seed: int) -> Dataset:
    """Draw `rows` flowers with replacement and add normal noise with standard deviation `jitter_cm` to each length."""
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(source.labels), rows)
    noise = random.normal(0.0, jitter_cm, (rows, source.features.shape[1]))
    return Dataset((source.features[drawn] + noise).astype(np.float32), source.labels[drawn])


def random_points(count: int, seed: int) -> Matrix:
    """Points drawn uniformly from a box somewhat larger than the range of the data set."""
    random = np.random.default_rng(seed)
    return random.uniform((3.0, 1.0, 0.2, 0.0), (9.0, 5.5, 8.0, 3.5), (count, len(FEATURES))).astype(np.float32)
