"""The expected labels: those of scikit-learn, which fitted the models."""

from collections.abc import Sequence

import numpy as np

from bench.inference.estimators import MODELS, fitted
from bench.inference.instances import Instance
from bench.inference.serving import RunningServer, ServingError


class ExpectedLabels:
    """Every fitted model, to compare a server's labels with."""

    def __init__(self) -> None:
        self._fitted = {name: fitted(name) for name in MODELS}

    def check(self, server: RunningServer, instances: Sequence[Instance]) -> None:
        """Raises ServingError unless the server labels instances as its model does; skips servers without one."""
        model = server.spec.model
        labels = server.predict_labels(instances)
        if model is None:
            return
        expected = self._fitted[model].predict(np.asarray(instances, dtype=np.float32)).tolist()
        if labels != expected:
            raise ServingError(f"{server.spec.name} predicted {labels}, expected {expected}")
