"""FastAPI, pydantic and scikit-learn's predict_proba: the obvious first implementation."""

import os
from typing import Annotated, Any

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field

CLASSES = ("setosa", "versicolor", "virginica")


class PredictRequest(BaseModel):
    """Instances, four lengths each."""

    instances: list[Annotated[list[float], Field(min_length=4, max_length=4)]]


class Prediction(BaseModel):
    """The prediction for one instance."""

    label: str
    class_index: int
    probabilities: dict[str, float]


class PredictResponse(BaseModel):
    """One prediction for each instance."""

    predictions: list[Prediction]


app = FastAPI()
# The file is the benchmark's own, made a moment ago.
model: Any = joblib.load(os.environ["MODEL_FILE"])


@app.post("/predict")
async def predict(request: PredictRequest) -> PredictResponse:
    """Predict in the event loop: on one core a thread costs more than it gains."""
    probabilities = model.predict_proba(np.asarray(request.instances))
    return PredictResponse(
        predictions=[
            Prediction(
                label=CLASSES[int(row.argmax())],
                class_index=int(row.argmax()),
                probabilities=dict(zip(CLASSES, row.tolist(), strict=True)),
            )
            for row in probabilities
        ]
    )
