"""An exported model of any kind predicts like the scikit-learn model that it was converted from."""

from collections.abc import Callable

import numpy as np
import pytest
from onnxruntime import InferenceSession
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from iris_training import parity
from iris_training.conversion import to_onnx
from iris_training.dataset import FEATURES, Matrix, load_dataset, random_points
from iris_training.recipes import SEED, Classifier

KINDS: dict[str, Callable[[], Classifier]] = {
    "logistic regression": lambda: LogisticRegression(max_iter=1_000),
    "discriminant analysis": LinearDiscriminantAnalysis,
    "random forest": lambda: RandomForestClassifier(100, random_state=SEED),
    # Leaves with several flowers vote with thirds and sevenths, whose sums are not exact.
    "random forest with mixed leaves": lambda: RandomForestClassifier(100, min_samples_leaf=3, random_state=1),
    "gradient boosting": lambda: GradientBoostingClassifier(n_estimators=60, max_depth=2, random_state=0),
    "support vectors": lambda: CalibratedClassifierCV(SVC(), ensemble=False),
}


@pytest.mark.filterwarnings("ignore:Attribute `prob[AB]_` was deprecated:FutureWarning")  # skl2onnx still reads them
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_agrees_on_the_data_set_and_on_100_000_random_flowers(kind: str) -> None:
    iris = load_dataset()
    trained: Classifier = KINDS[kind]().fit(iris.features, iris.labels)  # type: ignore[attr-defined]
    result = parity.check(to_onnx(trained, len(FEATURES), kind), trained, lambda measured: measured, points=100_000)
    assert result.points == 100_150
    assert result.max_probability_difference < 1e-5


def test_ties_of_a_forest_are_decided_as_in_scikit_learn() -> None:
    iris = load_dataset()
    forest = RandomForestClassifier(100, random_state=SEED).fit(iris.features, iris.labels)
    probes = random_points(20_000, seed=5)
    first, second = np.sort(forest.predict_proba(probes))[:, :0:-1].T
    ties = probes[first == second]
    assert len(ties) > 50
    assert _labels(forest, ties) == forest.predict(ties).tolist()


def test_values_next_to_a_threshold_are_compared_as_in_scikit_learn() -> None:
    """A threshold between two adjacent single-precision numbers may round to either of them."""
    low = np.float32(4.0)
    for _ in range(8):
        low = np.nextafter(low, np.float32(5))
        high = np.nextafter(low, np.float32(5))
        flowers = np.array([[low] * 4, [high] * 4, [9.0] * 4] * 10, dtype=np.float32)
        forest = RandomForestClassifier(10, random_state=0).fit(flowers, [0, 1, 2] * 10)
        assert _labels(forest, flowers) == forest.predict(flowers).tolist() == [0, 1, 2] * 10


def _labels(forest: Classifier, probes: Matrix) -> list[int]:
    # On several threads: the order in which the trees are summed must not matter either.
    session = InferenceSession(to_onnx(forest, len(FEATURES), "forest"), providers=["CPUExecutionProvider"])
    labels: list[int] = session.run(["label"], {"features": probes})[0].tolist()
    return labels
