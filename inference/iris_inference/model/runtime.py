"""Runs the model in ONNX Runtime on one thread, maps features by name and validates the outputs."""

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

from iris_inference.model.arrays import VECTORIZE_FROM, Matrix
from iris_inference.model.artifact import Artifact, ArtifactError, Manifest
from iris_inference.model.prediction import Prediction, Predictions

Instance = tuple[float, ...]
# An instance as the model's input: each feature in single precision, little-endian.
Packed = bytes

_PACKERS: Final = [struct.Struct(f"<{width}f").pack for width in range(17)]
# Random rows and batch sizes that test whether an instance's prediction depends on the rest of its batch.
_INVARIANCE_ROWS: Final = 60
_INVARIANCE_BATCH_SIZES: Final = (2, 3, 5, 12, 60)


# A slower model runs in a thread, so that probes and other requests are served meanwhile.
# A faster one runs in the event loop: a thread switch would take longer than the inference.
SLOW_SECONDS: Final = 0.002


class FailureReason(StrEnum):
    """Why an inference failed; the values are those of the metric's label."""

    FEATURE_MISMATCH = "feature_mismatch"
    RUNTIME_ERROR = "runtime_error"
    NON_FINITE = "non_finite"


class InferenceError(Exception):
    """The inference failed. The cause is the model, never the request."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def pack(instances: Sequence[Instance] | Matrix) -> list[Packed]:
    """Instances of one width as the model's input."""
    width = len(instances[0])
    if isinstance(instances, np.ndarray):
        # Each row becomes one void value, which `tolist` returns as bytes, without a Python loop.
        packed: list[Packed] = instances.astype("<f4").view(f"V{4 * width}").ravel().tolist()
        return packed
    if len(instances) == 1:
        return [_PACKERS[width](*instances[0])]
    content = struct.pack(f"<{width * len(instances)}f", *chain.from_iterable(instances))
    return [content[start : start + 4 * width] for start in range(0, len(content), 4 * width)]


class Model:
    """A loaded model. `predict` must not be called from two threads at the same time."""

    def __init__(self, artifact: Artifact, request_features: Sequence[str]) -> None:
        """Load the model and run it a few times.

        Raises:
            ArtifactError: ONNX Runtime cannot load it, its inputs or outputs contradict the manifest, or it fails.
        """
        self.manifest = artifact.manifest
        self._classes = frozenset(range(len(self.manifest.classes)))
        self._session = _session(artifact)
        self._input: str = _checked_input(self._session, self.manifest)
        self._outputs = _checked_outputs(self._session, self.manifest)
        self._columns, self._missing = _columns(self.manifest, request_features)
        self.width = len(request_features)
        self.inference_seconds = self._warm_up()
        self._batch_invariant = self._check_batch_invariance()

    @property
    def missing_features(self) -> tuple[str, ...]:
        """Features that the model expects and that requests do not have. If there are any, `predict` raises."""
        return self._missing

    @property
    def batch_invariant(self) -> bool:
        """Whether an instance gets bit-identical predictions whatever else is in its batch."""
        return self._batch_invariant

    def predict(self, packed: Sequence[Packed]) -> Sequence[Prediction]:
        """Predict the class of each instance, whose values are in the order of the request's features.

        From VECTORIZE_FROM instances on the result is a Predictions.

        Raises:
            InferenceError: the model expects other features, ONNX Runtime failed, or a probability is not finite.
        """
        if self._missing:
            raise InferenceError(
                FailureReason.FEATURE_MISMATCH,
                f"the model expects {len(self.manifest.features)} features {list(self.manifest.features)}, "
                f"and a request does not carry {list(self._missing)}",
            )
        # Some kernels sum a single row in another order than the rows of a batch, so a single row is duplicated.
        duplicated = len(packed) == 1 and self._batch_invariant
        matrix = np.frombuffer(b"".join(packed) * (2 if duplicated else 1), dtype="<f4").reshape(-1, self.width)
        if self._columns is not None:
            matrix = matrix[:, self._columns]
        labels, probabilities = self._run(matrix)
        predictions = self._validated(labels, probabilities)
        return predictions[:1] if duplicated else predictions

    def _run(self, matrix: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        try:
            labels, probabilities = self._session.run(self._outputs, {self._input: matrix})
        # ONNX Runtime's exceptions share no base class but this one.
        except Exception as error:
            raise InferenceError(FailureReason.RUNTIME_ERROR, str(error).strip()) from error
        return labels, probabilities

    def _validated(self, labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Sequence[Prediction]:
        classes = len(self.manifest.classes)
        indices: list[int] = labels.tolist()
        vectorized = len(indices) >= VECTORIZE_FROM
        rows: list[list[float]] = [] if vectorized else probabilities.tolist()
        # A sum is finite only if all of its terms are.
        finite = np.isfinite(probabilities).all() if vectorized else math.isfinite(sum(map(sum, rows)))
        if not finite:
            wrong = next(row for row in probabilities.tolist() if not all(map(math.isfinite, row)))
            raise InferenceError(FailureReason.NON_FINITE, f"the model answered with probabilities {wrong}")
        if not self._classes.issuperset(indices) or probabilities.shape[1] != classes:
            raise InferenceError(
                FailureReason.RUNTIME_ERROR,
                f"the model answered classes {min(indices)} to {max(indices)}, {probabilities.shape[1]} probabilities; "
                f"there are {classes} classes",
            )
        if vectorized:
            return Predictions(indices, probabilities.astype(np.float64))
        return list(map(Prediction, indices, map(tuple, rows)))

    def _warm_up(self) -> float:
        """Run the model on zeros and return the time of the fastest inference in seconds; the first one is slow."""
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

    def _check_batch_invariance(self) -> bool:
        """Whether batches of several sizes get bit-identical outputs. False without a test for a slow model."""
        if self.inference_seconds > SLOW_SECONDS:
            return False
        rows = (
            np.random.default_rng(0).uniform(0, 8, (_INVARIANCE_ROWS, len(self.manifest.features))).astype(np.float32)
        )
        try:
            return len({self._run_in_batches(size, rows) for size in _INVARIANCE_BATCH_SIZES}) == 1
        except InferenceError:
            return False

    def _run_in_batches(self, size: int, rows: NDArray[np.float32]) -> bytes:
        outputs = [self._run(rows[start : start + size]) for start in range(0, len(rows), size)]
        labels, probabilities = zip(*outputs, strict=True)
        return np.concatenate(labels).tobytes() + np.concatenate(probabilities).tobytes()


# onnxruntime has no type annotations: its sessions and arguments are Any here and nowhere else.
_FLOAT_TENSOR: Final = "tensor(float)"
_INT_TENSOR: Final = "tensor(int64)"


def _session(artifact: Artifact) -> Any:
    options = onnxruntime.SessionOptions()
    # One core per pod: the number of pods scales, and more threads would only compete for the CPU limit.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Errors are raised as exceptions; ONNX Runtime's own lines on stderr would not be JSON.
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
    # A converter may leave the number of classes open; a number that it does write must be the manifest's.
    widths = {size for size in outputs[-1][2][1:] if isinstance(size, int)}
    if [kind for _, kind, _ in outputs] != expected or widths - {len(manifest.classes)}:
        raise ArtifactError(
            f"the model's outputs are {outputs}, but a class index (int64) and the probabilities (float) of the "
            f"{len(manifest.classes)} classes {list(manifest.classes)} are needed. Export model and manifest together."
        )
    return [str(name) for name, _, _ in outputs]


def _columns(manifest: Manifest, request_features: Sequence[str]) -> tuple[list[int] | None, tuple[str, ...]]:
    """The request's column of each of the model's features (None: the same order), and the missing features."""
    missing = tuple(feature for feature in manifest.features if feature not in request_features)
    if missing or list(manifest.features) == list(request_features):
        return None, missing
    return [list(request_features).index(feature) for feature in manifest.features], ()
