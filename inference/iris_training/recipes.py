"""The models of the demonstration: good ones, and ones with a realistic defect.

3.0.0 to 5.0.0 fail visibly. 7.0.0 to 9.0.0 each differ from 6.0.0 in one respect, start, and answer every request.
6.1.0 differs from 6.0.0 as two training runs of one model do.
None of them needs fault injection in the service. Adding a recipe takes one entry in `RECIPES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from iris_training.dataset import CLASSES, FEATURES, Dataset, Labels, Matrix, augment

SEED: Final = 20_240_607

# Each reference flower takes the exported model one step of an ONNX Scan, about 2 microseconds on one core.
NEIGHBOUR_ROWS: Final = 20_000
FEW_NEIGHBOUR_ROWS: Final = 2_500
SLOWER_NEIGHBOUR_ROWS: Final = 6 * FEW_NEIGHBOUR_ROWS


class Classifier(Protocol):
    """The part of a fitted scikit-learn classifier that is used here."""

    def predict(self, features: Matrix) -> NDArray[np.int64]:
        """The class index of each row."""
        ...

    def predict_proba(self, features: Matrix) -> NDArray[np.float64]:
        """The probabilities, shape (rows, classes)."""
        ...


class Packaging(Enum):
    """Whether the model file is packaged completely."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model version is trained: its features and labels, the function that fits it, and its packaging.

    `derive` computes the recipe's features from the measured ones, `relabel` its training labels from the true ones.
    """

    name: str
    summary: str
    fit: Callable[[Dataset], Classifier]
    features: tuple[str, ...] = FEATURES
    derive: Callable[[Matrix], Matrix] = lambda measured: measured
    relabel: Callable[[Labels], Labels] = lambda true: true
    packaging: Packaging = Packaging.COMPLETE


def _logistic_regression(data: Dataset) -> Classifier:
    fitted: Classifier = LogisticRegression(max_iter=1_000, random_state=SEED).fit(data.features, data.labels)
    return fitted


def _discriminant_analysis(data: Dataset) -> Classifier:
    fitted: Classifier = LinearDiscriminantAnalysis().fit(data.features, data.labels)
    return fitted


def _k_nearest_neighbours(rows: int, seed: int = SEED) -> Callable[[Dataset], Classifier]:
    def fit(data: Dataset) -> Classifier:
        reference = augment(data, rows, jitter_cm=0.15, seed=seed)
        neighbours = KNeighborsClassifier(n_neighbors=15, algorithm="kd_tree")
        fitted: Classifier = neighbours.fit(reference.features, reference.labels)
        return fitted

    return fit


def _with_petal_area(measured: Matrix) -> Matrix:
    petal_length, petal_width = measured[:, 2], measured[:, 3]
    return np.column_stack((measured, petal_length * petal_width)).astype(np.float32)


def _sepals_only(measured: Matrix) -> Matrix:
    return np.ascontiguousarray(measured[:, :2])


def _swap_first_and_last(true: Labels) -> Labels:
    """The labels that a list of classes in the wrong order would give."""
    return np.asarray(len(CLASSES) - 1 - true, dtype=np.int64)


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="1.0.0",
            summary="good: logistic regression on the four measured lengths",
            fit=_logistic_regression,
        ),
        Recipe(
            name="2.0.0",
            summary="better: linear discriminant analysis on the same four lengths",
            fit=_discriminant_analysis,
        ),
        Recipe(
            name="3.0.0",
            summary="bad: expects a fifth, derived feature (petal_area) that no request carries",
            fit=_logistic_regression,
            features=(*FEATURES, "petal_area"),
            derive=_with_petal_area,
        ),
        Recipe(
            name="4.0.0",
            summary=f"bad: {NEIGHBOUR_ROWS:,} reference flowers searched one by one, hundreds of times slower",
            fit=_k_nearest_neighbours(NEIGHBOUR_ROWS),
        ),
        Recipe(
            name="5.0.0",
            summary="bad: its file is truncated after the manifest was written, as by a broken upload",
            fit=_logistic_regression,
            packaging=Packaging.TRUNCATED,
        ),
        Recipe(
            name="6.0.0",
            summary=f"good: {FEW_NEIGHBOUR_ROWS:,} reference flowers searched one by one",
            fit=_k_nearest_neighbours(FEW_NEIGHBOUR_ROWS),
        ),
        Recipe(
            name="6.1.0",
            summary="good: 6.0.0 trained again, on other flowers",
            fit=_k_nearest_neighbours(FEW_NEIGHBOUR_ROWS, SEED + 1),
        ),
        Recipe(
            name="7.0.0",
            summary="silently bad: 6.0.0 trained with the labels of setosa and virginica swapped",
            fit=_k_nearest_neighbours(FEW_NEIGHBOUR_ROWS),
            relabel=_swap_first_and_last,
        ),
        Recipe(
            name="8.0.0",
            summary="silently bad: 6.0.0 trained without the petals, as if a join had lost their columns",
            fit=_k_nearest_neighbours(FEW_NEIGHBOUR_ROWS),
            features=FEATURES[:2],
            derive=_sepals_only,
        ),
        Recipe(
            name="9.0.0",
            summary=f"silently bad: 6.0.0 with six times the flowers ({SLOWER_NEIGHBOUR_ROWS:,}), some 15 ms slower",
            fit=_k_nearest_neighbours(SLOWER_NEIGHBOUR_ROWS),
        ),
    )
}
