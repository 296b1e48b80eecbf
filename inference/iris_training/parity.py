"""Compares an exported model with the scikit-learn model that it was converted from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from iris_training.dataset import Matrix, load_dataset, random_points
from iris_training.recipes import Classifier

MAX_PROBABILITY_DIFFERENCE: Final = 1e-5
RANDOM_POINTS: Final = 2_000


class ParityError(Exception):
    """The exported model predicts differently from the trained one."""


@dataclass(frozen=True, slots=True)
class ParityResult:
    """The number of points compared, and the largest difference of a probability."""

    points: int
    max_probability_difference: float


def check(
    onnx_model: bytes, trained: Classifier, derive: Callable[[Matrix], Matrix], points: int = RANDOM_POINTS
) -> ParityResult:
    """Compare both models on the whole data set and on `points` random flowers.

    Raises ParityError when a label differs, or a probability by more than MAX_PROBABILITY_DIFFERENCE.
    """
    probes = derive(np.concatenate((load_dataset().features, random_points(points, seed=7))))
    labels, probabilities = _run(onnx_model, probes)
    differing = int(np.count_nonzero(labels != trained.predict(probes)))
    if differing:
        raise ParityError(f"{differing} of {len(probes)} labels differ between scikit-learn and ONNX Runtime")
    difference = float(np.abs(probabilities - trained.predict_proba(probes)).max())
    if not difference <= MAX_PROBABILITY_DIFFERENCE:
        raise ParityError(
            f"a probability differs by {difference:.2e} between scikit-learn and ONNX Runtime; "
            f"at most {MAX_PROBABILITY_DIFFERENCE:.0e} is accepted"
        )
    return ParityResult(len(probes), difference)


def _run(onnx_model: bytes, probes: Matrix) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {session.get_inputs()[0].name: probes})
    return labels, probabilities
