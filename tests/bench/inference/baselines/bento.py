"""A BentoML service in the form that its documentation gives for scikit-learn, with one worker and no access log."""

import os
from typing import Any

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Iris:
    """The model behind one method."""

    def __init__(self) -> None:
        # The file is the benchmark's own, made a moment ago.
        self._model: Any = joblib.load(os.environ["MODEL_FILE"])

    @bentoml.api
    def predict(self, instances: list[list[float]]) -> dict[str, Any]:
        """The class and the probabilities of each instance."""
        probabilities = self._model.predict_proba(np.asarray(instances))
        return {
            "predictions": [{"class": int(row.argmax()), "probabilities": row.tolist()} for row in probabilities],
        }
