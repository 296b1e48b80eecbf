"""FastAPI, pydantic and scikit-learn's predict_proba, as most people would write it first."""

import os
from typing import Annotated, Any

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field

CLASSES = ("setosa", "versicolor", "virginica")


class Question(BaseModel):
    """Flowers, four lengths each."""

    instances: list[Annotated[list[float], Field(min_length=4, max_length=4)]]


class Prediction(BaseModel):
    """What the model says of one flower."""

    label: str
    class_index: int
    probabilities: dict[str, float]


class Answer(BaseModel):
    """One prediction for each flower."""

    predictions: list[Prediction]


app = FastAPI()
# The file is the benchmark's own, made a moment ago.
model: Any = joblib.load(os.environ["MODEL_FILE"])


@app.post("/predict")
async def predict(question: Question) -> Answer:
    """Predict in the event loop: handing the call to a thread costs more than it gives on one core."""
    probabilities = model.predict_proba(np.asarray(question.instances))
    return Answer(
        predictions=[
            Prediction(
                label=CLASSES[int(row.argmax())],
                class_index=int(row.argmax()),
                probabilities=dict(zip(CLASSES, row.tolist(), strict=True)),
            )
            for row in probabilities
        ]
    )
