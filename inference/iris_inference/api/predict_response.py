"""Writes the answers of /v1/predict: what PredictResponse describes, without making it first."""

from collections.abc import Sequence
from itertools import starmap
from typing import Any, Final

import msgspec

from iris_inference.artifact import Manifest
from iris_inference.predictions import Prediction, Predictions


class _Prediction(msgspec.Struct, gc=False):
    label: str
    class_index: int = msgspec.field(name="class")
    probabilities: Any


class _Answer(msgspec.Struct, gc=False):
    request_id: str
    model: msgspec.Raw
    predictions: list[_Prediction]


_encode: Final = msgspec.json.Encoder().encode


class Renderer:
    """Knows the model and the names of its classes."""

    def __init__(self, manifest: Manifest, revision: str) -> None:
        identity = {"name": manifest.name, "version": manifest.version, "revision": revision}
        self._model = msgspec.Raw(_encode(identity))
        self._labels = manifest.classes
        # One attribute a class, each written under the name of its class, in the manifest's order.
        attributes = {f"p{index}": name for index, name in enumerate(manifest.classes)}
        self._probabilities: Any = msgspec.defstruct(
            "Probabilities", [(name, float) for name in attributes], rename=attributes, gc=False
        )

    def answer(self, request_id: str, predictions: Sequence[Prediction]) -> bytes:
        """The JSON of a good answer."""
        labels, probabilities = self._labels, self._probabilities
        if isinstance(predictions, Predictions):
            classes = predictions.classes
            each = starmap(probabilities, predictions.probabilities.tolist())
            written = list(map(_Prediction, map(labels.__getitem__, classes), classes, each))
        else:
            written = [
                _Prediction(labels[found.class_index], found.class_index, probabilities(*found.probabilities))
                for found in predictions
            ]
        return _encode(_Answer(request_id, self._model, written))
