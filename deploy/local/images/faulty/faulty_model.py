"""The prediction service around a model with a fault, for the demo and for benchmarks; the service itself has none.

Environment variables, each 0 or empty for none:

- ``FAULT_WORK_MS``: processor time that every instance takes in addition, in milliseconds;
- ``FAULT_FIRST_SECONDS``, ``FAULT_FIRST_WORK_MS``: the same for so many seconds from the first request of the process;
- ``FAULT_FAILURES``: share of the calls of the model that fail, 0 to 1;
- ``FAULT_EXCHANGE``: 1: the first and the last class are exchanged;
- ``FAULT_VERSION``: the version that answers and metrics name; empty: the model's own.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from iris_inference import main as inference_main
from iris_inference.model.artifact import Manifest, read_manifest
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import FailureReason, InferenceError, Model, Packed

# About 0.1 ms of hashing, during which other threads run, as during an inference.
_CHUNK: Final = bytes(65_536)
_MILLISECOND: Final = 0.001


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the model; times in seconds, ``failures`` a share from 0 to 1."""

    work: float = 0.0
    first_seconds: float = 0.0
    first_work: float = 0.0
    failures: float = 0.0
    exchange: bool = False
    version: str = ""


def fault_of(environment: Mapping[str, str]) -> Fault:
    """The fault that the variables describe. Raises ValueError for one that is no number."""

    def number(name: str) -> float:
        return float(environment.get(f"FAULT_{name}") or 0)

    return Fault(
        work=number("WORK_MS") * _MILLISECOND,
        first_seconds=number("FIRST_SECONDS"),
        first_work=number("FIRST_WORK_MS") * _MILLISECOND,
        failures=number("FAILURES"),
        exchange=environment.get("FAULT_EXCHANGE") == "1",
        version=environment.get("FAULT_VERSION", ""),
    )


def spend(seconds: float) -> None:
    """Use so much processor time in this thread: a busy machine takes longer for it, as for an inference."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_CHUNK).digest()


class FaultyModel(Model):
    """The model with its fault. The work counts when the service measures how slow its model is."""

    fault: Fault = Fault()
    chance: Callable[[], float] = staticmethod(random.SystemRandom().random)
    clock: Callable[[], float] = staticmethod(time.monotonic)
    _first_at: float | None = None

    def predict(self, packed: Sequence[Packed]) -> Sequence[Prediction]:
        """Predict, or raise InferenceError for the share of the calls that is to fail."""
        now = self.clock()
        if self._first_at is None:
            self._first_at = now
        if now - self._first_at < self.fault.first_seconds:
            spend(self.fault.first_work * len(packed))
        if self.chance() < self.fault.failures:
            raise InferenceError(FailureReason.RUNTIME_ERROR, "this call was chosen to fail")
        return super().predict(packed)

    def _run(self, matrix: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        spend(self.fault.work * len(matrix))
        labels, probabilities = super()._run(matrix)
        if self.fault.exchange:
            return exchanged(labels, probabilities)
        return labels, probabilities


def exchanged(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Class indices (n) and probabilities (n, classes) with the order of the classes reversed."""
    return probabilities.shape[1] - 1 - labels, np.ascontiguousarray(probabilities[:, ::-1])


def main() -> int:
    """Serve the faulty model until SIGTERM; the exit codes are the service's."""
    fault = FaultyModel.fault = fault_of(os.environ)
    # Its names are replaced, which no type allows: this process has no other model.
    service: Any = inference_main

    def read_renamed_manifest(*arguments: Any) -> Manifest:
        manifest = read_manifest(*arguments)
        return manifest.model_copy(update={"version": fault.version}) if fault.version else manifest

    service.Model = FaultyModel
    service.read_manifest = read_renamed_manifest
    return inference_main.main()


if __name__ == "__main__":
    sys.exit(main())
