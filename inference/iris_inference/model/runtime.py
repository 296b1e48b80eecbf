"""Runs the model: ONNX Runtime on one thread, fed by feature name, its answers checked."""

import math
import struct
import time
from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from iris_inference.artifact import Artifact, ArtifactError, Manifest
from iris_inference.matrices import MANY, Matrix
from iris_inference.predictions import Prediction, Predictions

Instance = tuple[float, ...]
# A flower exactly as the model is fed with it: each feature in single precision, little-endian.
Packed = bytes

_PACKERS: Final = [struct.Struct(f"<{width}f").pack for width in range(17)]
# Rows of the trial that shows whether a flower's answer depends on those that are asked for together with it.
_TRIAL_ROWS: Final = 60
_TRIAL_GROUPS: Final = (2, 3, 5, 12, 60)


# A model slower than this runs in a thread, so that probes and other requests are answered meanwhile.
# A faster one runs in the event loop: changing threads would cost more than the inference.
SLOW_SECONDS: Final = 0.002


class FailureReason(StrEnum):
    """Why a model could not answer; the values are the labels of the metric."""

    FEATURE_MISMATCH = "feature_mismatch"
    RUNTIME_ERROR = "runtime_error"
    NON_FINITE = "non_finite"


class InferenceError(Exception):
    """The model did not answer. The fault is the model's, never the request's."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def pack(instances: Sequence[Instance] | Matrix) -> list[Packed]:
    """The instances, which are of one width, as the model is fed with them."""
    width = len(instances[0])
    if isinstance(instances, np.ndarray):
        # A row as one value without a type, which Python knows as bytes: nothing is cut out one by one.
        packed: list[Packed] = instances.astype("<f4").view(f"V{4 * width}").ravel().tolist()
        return packed
    if len(instances) == 1:
        return [_PACKERS[width](*instances[0])]
    content = struct.pack(f"<{width * len(instances)}f", *chain.from_iterable(instances))
    return [content[start : start + 4 * width] for start in range(0, len(content), 4 * width)]


class Model:
    """A loaded model. `predict` may be called from one thread at a time."""

    def __init__(self, artifact: Artifact, request_features: Sequence[str]) -> None:
        """Parse the model and run it a few times.

        Raises:
            ArtifactError: ONNX Runtime cannot parse it, its shape is not what the manifest says, or it fails to run.
        """
        self.manifest = artifact.manifest
        self._classes = frozenset(range(len(self.manifest.classes)))
        self._session = _session(artifact)
        self._input: str = _checked_input(self._session, self.manifest)
        self._outputs = _checked_outputs(self._session, self.manifest)
        self._columns, self._missing = _columns(self.manifest, request_features)
        self.width = len(request_features)
        self.warm_seconds = self._warm_up()
        self._separable = self._try_company()

    @property
    def missing_features(self) -> tuple[str, ...]:
        """Features that the model expects and that no request carries. When there are any, `predict` raises."""
        return self._missing

    @property
    def separable(self) -> bool:
        """Whether a flower gets the same answer, to the last bit, whatever else it is asked for together with."""
        return self._separable

    def predict(self, flowers: Sequence[Packed]) -> Sequence[Prediction]:
        """Predict a class for each flower, whose values stand in the order of the request's features.

        From MANY flowers on the answer is a Predictions.

        Raises:
            InferenceError: the model expects other features, ONNX Runtime failed, or an answer is not finite.
        """
        if self._missing:
            raise InferenceError(
                FailureReason.FEATURE_MISMATCH,
                f"the model expects {len(self.manifest.features)} features {list(self.manifest.features)}, "
                f"and a request does not carry {list(self._missing)}",
            )
        # Some kernels add up a single row in another order than the rows of many. Two of it are many.
        lonely = len(flowers) == 1 and self._separable
        matrix = np.frombuffer(b"".join(flowers) * (2 if lonely else 1), dtype="<f4").reshape(-1, self.width)
        if self._columns is not None:
            matrix = matrix[:, self._columns]
        labels, probabilities = self._run(matrix)
        found = self._checked(labels, probabilities)
        return found[:1] if lonely else found

    def _run(self, matrix: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        try:
            labels, probabilities = self._session.run(self._outputs, {self._input: matrix})
        # ONNX Runtime's exceptions share no base class but this one.
        except Exception as error:
            raise InferenceError(FailureReason.RUNTIME_ERROR, str(error).strip()) from error
        return labels, probabilities

    def _checked(self, labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Sequence[Prediction]:
        classes = len(self.manifest.classes)
        indices: list[int] = labels.tolist()
        many = len(indices) >= MANY
        rows: list[list[float]] = [] if many else probabilities.tolist()
        # A sum is finite only if all that is in it is.
        finite = np.isfinite(probabilities).all() if many else math.isfinite(sum(map(sum, rows)))
        if not finite:
            wrong = next(row for row in probabilities.tolist() if not all(map(math.isfinite, row)))
            raise InferenceError(FailureReason.NON_FINITE, f"the model answered with probabilities {wrong}")
        if not self._classes.issuperset(indices) or probabilities.shape[1] != classes:
            raise InferenceError(
                FailureReason.RUNTIME_ERROR,
                f"the model answered classes {min(indices)} to {max(indices)}, {probabilities.shape[1]} probabilities; "
                f"there are {classes} classes",
            )
        if many:
            return Predictions(indices, probabilities.astype(np.float64))
        return list(map(Prediction, indices, map(tuple, rows)))

    def _warm_up(self) -> float:
        """Run the model on zeros, the first time slowly, then to see how long one inference takes. Seconds."""
        zeros = np.zeros((1, len(self.manifest.features)), dtype=np.float32)
        fastest = math.inf
        try:
            for _ in range(3):
                started = time.perf_counter()
                self._run(zeros)
                fastest = min(fastest, time.perf_counter() - started)
        except InferenceError as error:
            raise ArtifactError(f"the model does not run: {error.detail}") from error
        return fastest

    def _try_company(self) -> bool:
        """Whether flowers in groups of several sizes get the very same answers. Not asked of a model that is slow."""
        if self.warm_seconds > SLOW_SECONDS:
            return False
        rows = np.random.default_rng(0).uniform(0, 8, (_TRIAL_ROWS, len(self.manifest.features))).astype(np.float32)
        try:
            return len({self._in_groups_of(size, rows) for size in _TRIAL_GROUPS}) == 1
        except InferenceError:
            return False

    def _in_groups_of(self, size: int, rows: NDArray[np.float32]) -> bytes:
        answers = [self._run(rows[start : start + size]) for start in range(0, len(rows), size)]
        labels, probabilities = zip(*answers, strict=True)
        return np.concatenate(labels).tobytes() + np.concatenate(probabilities).tobytes()


# onnxruntime publishes no types: its sessions and arguments are Any here and nowhere else.
_FLOAT_TENSOR: Final = "tensor(float)"
_INT_TENSOR: Final = "tensor(int64)"


def _session(artifact: Artifact) -> Any:
    options = onnxruntime.SessionOptions()
    # One core a pod: the pod count is what scales, and more threads would only fight over the CPU limit.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Errors reach us as exceptions; ONNX Runtime's own lines on stderr would not be JSON.
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(artifact.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ArtifactError(f"ONNX Runtime cannot load the model: {str(error).strip()}") from error


def _checked_input(session: Any, manifest: Manifest) -> str:
    inputs = [(node.name, node.type, list(node.shape)) for node in session.get_inputs()]
    width = len(manifest.features)
    if len(inputs) != 1 or inputs[0][1] != _FLOAT_TENSOR or inputs[0][2][1:] != [width]:
        raise ArtifactError(
            f"the model's inputs are {inputs}, but its manifest says one float tensor with the {width} features "
            f"{list(manifest.features)}. Export model and manifest together."
        )
    return str(inputs[0][0])


def _checked_outputs(session: Any, manifest: Manifest) -> list[str]:
    outputs = [(node.name, node.type, list(node.shape)) for node in session.get_outputs()]
    expected = [_INT_TENSOR, _FLOAT_TENSOR]
    # A converter may leave the number of classes open; a number that it does write down must be the manifest's.
    widths = {size for size in outputs[-1][2][1:] if isinstance(size, int)}
    if [kind for _, kind, _ in outputs] != expected or widths - {len(manifest.classes)}:
        raise ArtifactError(
            f"the model's outputs are {outputs}, but a class index (int64) and the probabilities (float) of the "
            f"{len(manifest.classes)} classes {list(manifest.classes)} are needed. Export model and manifest together."
        )
    return [str(name) for name, _, _ in outputs]


def _columns(manifest: Manifest, request_features: Sequence[str]) -> tuple[list[int] | None, tuple[str, ...]]:
    """Where each of the model's features stands in a request (None: the same order), and those that do not."""
    missing = tuple(feature for feature in manifest.features if feature not in request_features)
    if missing or list(manifest.features) == list(request_features):
        return None, missing
    return [list(request_features).index(feature) for feature in manifest.features], ()
