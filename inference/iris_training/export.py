"""Trains a recipe, converts it to ONNX, proves the conversion and writes `model.onnx` with its `manifest.json`."""

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
from iris_training.dataset import CLASSES, Dataset, iris
from iris_training.distribution import describe
from iris_training.recipes import SEED, Classifier, Packaging, Recipe

MODEL_NAME: Final = "iris"
MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written: the digest that the manifest promises, the bytes of the file and the accuracy found."""

    version: str
    sha256: str
    size_bytes: int
    accuracy: float
    parity: parity.Parity
    packaging: Packaging


def export(recipe: Recipe, version: str, out: Path) -> Export:
    """Write the model of `recipe` and its manifest into the folder `out`, which is made when missing.

    The same inputs give the same bytes. Raises ParityError when ONNX Runtime disagrees with scikit-learn.
    """
    flowers = iris()
    data = Dataset(recipe.derive(flowers.features), recipe.relabel(flowers.labels))
    trained = recipe.fit(data)
    model = to_onnx(trained, len(recipe.features), f"{MODEL_NAME}-{version}")
    agreement = parity.check(model, trained, recipe.derive)
    accuracy = _cross_validated_accuracy(recipe, data)
    digest = hashlib.sha256(model).hexdigest()

    out.mkdir(parents=True, exist_ok=True)
    training = _training(recipe, data, trained, accuracy)
    manifest = _manifest(recipe, version, digest, len(model), training, agreement)
    (out / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    (out / MODEL_FILE).write_bytes(_package(model, recipe.packaging))
    return Export(version, digest, len(model), accuracy, agreement, recipe.packaging)


def _cross_validated_accuracy(recipe: Recipe, data: Dataset) -> float:
    """Share of flowers labelled right by models that did not see them, over five folds."""
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
    right = 0
    for train, held_out in folds.split(data.features, data.labels):
        model = recipe.fit(Dataset(data.features[train], data.labels[train]))
        right += int(np.count_nonzero(model.predict(data.features[held_out]) == data.labels[held_out]))
    return right / len(data.labels)


def _manifest(
    recipe: Recipe,
    version: str,
    digest: str,
    size_bytes: int,
    training: dict[str, object],
    agreement: parity.Parity,
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
            "points": agreement.points,
            "max_probability_difference": agreement.max_probability_difference,
        },
    }


def _training(recipe: Recipe, data: Dataset, trained: Classifier, accuracy: float) -> dict[str, object]:
    return {
        "recipe": recipe.name,
        "estimator": type(trained).__name__,
        "cross_validated_accuracy": round(accuracy, 4),
        "features": {name: describe(values) for name, values in zip(recipe.features, data.features.T, strict=True)},
        "scikit_learn": sklearn.__version__,
        "skl2onnx": skl2onnx.__version__,
    }


def _package(model: bytes, packaging: Packaging) -> bytes:
    match packaging:
        case Packaging.WHOLE:
            return model
        case Packaging.CUT_SHORT:
            return model[: len(model) // 2]
