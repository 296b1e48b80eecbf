"""Trains a recipe, converts it to ONNX, verifies the conversion and writes `model.onnx` with its `manifest.json`."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import skl2onnx
import sklearn
from sklearn.model_selection import StratifiedKFold

from iris_training import parity
from iris_training.conversion import to_onnx
from iris_training.dataset import CLASSES, Dataset, load_dataset
from iris_training.distribution import bin_values
from iris_training.recipes import SEED, Classifier, Packaging, Recipe

MODEL_NAME: Final = "iris"
MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """An exported model: the digest and size in its manifest, its accuracy and the result of the parity check."""

    version: str
    sha256: str
    size_bytes: int
    accuracy: float
    parity: parity.ParityResult
    packaging: Packaging


def export(recipe: Recipe, version: str, out: Path) -> ExportResult:
    """Write the model of `recipe` and its manifest into the folder `out`, which is created when missing.

    The same arguments give the same bytes. Raises ParityError when ONNX Runtime disagrees with scikit-learn.
    """
    iris = load_dataset()
    data = Dataset(recipe.derive(iris.features), recipe.relabel(iris.labels))
    trained = recipe.fit(data)
    model = to_onnx(trained, len(recipe.features), f"{MODEL_NAME}-{version}")
    parity_result = parity.check(model, trained, recipe.derive)
    accuracy = _cross_validated_accuracy(recipe, data)
    digest = hashlib.sha256(model).hexdigest()

    out.mkdir(parents=True, exist_ok=True)
    training = _training(recipe, data, trained, accuracy)
    manifest = _manifest(recipe, version, digest, len(model), training, parity_result)
    (out / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    (out / MODEL_FILE).write_bytes(_package(model, recipe.packaging))
    return ExportResult(version, digest, len(model), accuracy, parity_result, recipe.packaging)


def _cross_validated_accuracy(recipe: Recipe, data: Dataset) -> float:
    """The accuracy of five-fold cross-validation: each flower is labelled by a model that was trained without it."""
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
    correct = 0
    for train, held_out in folds.split(data.features, data.labels):
        model = recipe.fit(Dataset(data.features[train], data.labels[train]))
        correct += int(np.count_nonzero(model.predict(data.features[held_out]) == data.labels[held_out]))
    return correct / len(data.labels)


def _manifest(
    recipe: Recipe,
    version: str,
    digest: str,
    size_bytes: int,
    training: dict[str, object],
    parity_result: parity.ParityResult,
) -> dict[str, object]:
    return {
        "name": MODEL_NAME,
        "version": version,
        "features": list(recipe.features),
        "classes": list(CLASSES),
        "sha256": digest,
        "size_bytes": size_bytes,
        "training": training,
        "parity": {
            "points": parity_result.points,
            "max_probability_difference": parity_result.max_probability_difference,
        },
    }


def _training(recipe: Recipe, data: Dataset, trained: Classifier, accuracy: float) -> dict[str, object]:
    return {
        "recipe": recipe.name,
        "estimator": type(trained).__name__,
        "cross_validated_accuracy": round(accuracy, 4),
        "features": {name: bin_values(values) for name, values in zip(recipe.features, data.features.T, strict=True)},
        "scikit_learn": sklearn.__version__,
        "skl2onnx": skl2onnx.__version__,
    }


def _package(model: bytes, packaging: Packaging) -> bytes:
    match packaging:
        case Packaging.COMPLETE:
            return model
        case Packaging.TRUNCATED:
            return model[: len(model) // 2]
