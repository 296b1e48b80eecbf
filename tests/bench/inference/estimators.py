"""Fits the models of the benchmark and saves them for the servers that want joblib.

Runs once in each environment, because such a file is only valid for the versions that wrote it:
python -m bench.inference.estimators FOLDER
"""

import sys
from pathlib import Path
from typing import Final

import joblib
from sklearn.ensemble import RandomForestClassifier

from iris_training.dataset import Dataset, load_dataset
from iris_training.recipes import RECIPES, SEED, Classifier, Recipe

LOGISTIC: Final = "logistic"
FOREST: Final = "forest"
TREES: Final = 100


def _forest(data: Dataset) -> Classifier:
    fitted: Classifier = RandomForestClassifier(TREES, random_state=SEED).fit(data.features, data.labels)
    return fitted


MODELS: Final = {
    LOGISTIC: RECIPES["1.0.0"],
    FOREST: Recipe(name=FOREST, summary=f"random forest of {TREES} trees", fit=_forest),
}


def fitted(model: str) -> Classifier:
    """The model, fitted to the whole data set."""
    return MODELS[model].fit(load_dataset())


def saved_model(folder: Path, model: str) -> Path:
    """The file in which `save` stores a model."""
    return folder / f"{model}.joblib"


def save(folder: Path) -> None:
    """Fit and save every model."""
    folder.mkdir(parents=True, exist_ok=True)
    for model in MODELS:
        joblib.dump(fitted(model), saved_model(folder, model))


if __name__ == "__main__":
    save(Path(sys.argv[1]))
