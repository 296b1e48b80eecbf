"""What the right answers are: those of scikit-learn, which made the models."""

from collections.abc import Sequence

import numpy as np

from bench.inference.estimators import MODELS, fitted
from bench.inference.flowers import Flower
from bench.inference.serving import Server, ServingError


class Truth:
    """Every model as it was fitted, to hold answers against."""

    def __init__(self) -> None:
        self._fitted = {name: fitted(name) for name in MODELS}

    def check(self, server: Server, flowers: Sequence[Flower]) -> None:
        """Raises ServingError unless the server labels the flowers as its model does. The bare one knows no model."""
        model = server.contestant.model
        answered = server.labels(flowers)
        if model is None:
            return
        expected = self._fitted[model].predict(np.asarray(flowers, dtype=np.float32)).tolist()
        if answered != expected:
            raise ServingError(f"{server.contestant.name} answers {answered}, the model says {expected}")
