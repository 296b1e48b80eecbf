"""The models of the demonstration: good ones, and ones that are bad for a real reason.

3.0.0 to 5.0.0 are loudly bad. 7.0.0 to 9.0.0 each differ from 6.0.0 in one thing, start, and answer every request.
6.1.0 differs from it as two trainings of one model do.
None of them needs a fault switch in the service. Adding a recipe is one entry in `RECIPES`.
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

from iris_training.dataset import CLASSES, FEATURES, Dataset, Labels, Matrix, augmented

SEED: Final = 20_240_607

# Each reference flower costs the exported model one step of an ONNX Scan, about 2 microseconds on one core.
NEIGHBOUR_ROWS: Final = 20_000
FEW_NEIGHBOUR_ROWS: Final = 2_500
SLOWER_NEIGHBOUR_ROWS: Final = FEW_NEIGHBOUR_ROWS * 6 // 5


class Classifier(Protocol):
    """What a fitted scikit-learn classifier offers here."""

    def predict(self, features: Matrix) -> NDArray[np.int64]:
        """The class index of each row."""
        ...

    def predict_proba(self, features: Matrix) -> NDArray[np.float64]:
        """The probability of each class, a column for each, for each row."""
        ...


class Packaging(Enum):
    """How the finished model file reaches the image."""

    WHOLE = "whole"
    CUT_SHORT = "cut short"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model version is made: its features and labels, the function that fits it, and how it is packaged.

    `derive` makes the recipe's features of the measured ones, `relabel` what it takes for the true labels.
    """

    name: str
    summary: str
    fit: Callable[[Dataset], Classifier]
    features: tuple[str, ...] = FEATURES
    derive: Callable[[Matrix], Matrix] = lambda measured: measured
    relabel: Callable[[Labels], Labels] = lambda true: true
    packaging: Packaging = Packaging.WHOLE


def _logistic_regression(data: Dataset) -> Classifier:
    fitted: Classifier = LogisticRegression(max_iter=1_000, random_state=SEED).fit(data.features, data.labels)
    return fitted


def _discriminant_analysis(data: Dataset) -> Classifier:
    fitted: Classifier = LinearDiscriminantAnalysis().fit(data.features, data.labels)
    return fitted


def _nearest_neighbours(rows: int, seed: int = SEED) -> Callable[[Dataset], Classifier]:
    def fit(data: Dataset) -> Classifier:
        reference = augmented(data, rows, jitter_cm=0.15, seed=seed)
        neighbours = KNeighborsClassifier(n_neighbors=15, algorithm="kd_tree")
        fitted: Classifier = neighbours.fit(reference.features, reference.labels)
        return fitted

    return fit


def _with_petal_area(measured: Matrix) -> Matrix:
    petal_length, petal_width = measured[:, 2], measured[:, 3]
    return np.column_stack((measured, petal_length * petal_width)).astype(np.float32)


def _sepals(measured: Matrix) -> Matrix:
    return np.ascontiguousarray(measured[:, :2])


def _first_and_last_exchanged(true: Labels) -> Labels:
    """What a list of classes in the wrong order makes of the labels."""
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
            fit=_nearest_neighbours(NEIGHBOUR_ROWS),
        ),
        Recipe(
            name="5.0.0",
            summary="bad: its file is cut short after the manifest was written, as by a broken upload",
            fit=_logistic_regression,
            packaging=Packaging.CUT_SHORT,
        ),
        Recipe(
            name="6.0.0",
            summary=f"good: {FEW_NEIGHBOUR_ROWS:,} reference flowers searched one by one",
            fit=_nearest_neighbours(FEW_NEIGHBOUR_ROWS),
        ),
        Recipe(
            name="6.1.0",
            summary="good: 6.0.0 trained again, on other flowers",
            fit=_nearest_neighbours(FEW_NEIGHBOUR_ROWS, SEED + 1),
        ),
        Recipe(
            name="7.0.0",
            summary="silently bad: 6.0.0 trained with the labels of setosa and virginica exchanged",
            fit=_nearest_neighbours(FEW_NEIGHBOUR_ROWS),
            relabel=_first_and_last_exchanged,
        ),
        Recipe(
            name="8.0.0",
            summary="silently bad: 6.0.0 trained without the petals, as if a join had lost their columns",
            fit=_nearest_neighbours(FEW_NEIGHBOUR_ROWS),
            features=FEATURES[:2],
            derive=_sepals,
        ),
        Recipe(
            name="9.0.0",
            summary=f"silently bad: 6.0.0 with a fifth more flowers ({SLOWER_NEIGHBOUR_ROWS:,}), a fifth slower",
            fit=_nearest_neighbours(SLOWER_NEIGHBOUR_ROWS),
        ),
    )
}
