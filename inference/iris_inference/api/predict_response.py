"""Renders the responses of /v1/predict: the JSON of a PredictResponse, without creating one."""

from collections.abc import Sequence
from itertools import starmap
from typing import Any, Final

import msgspec

from iris_inference.model.artifact import Manifest
from iris_inference.model.prediction import Prediction, Predictions


class _Prediction(msgspec.Struct, gc=False):
    label: str
    class_index: int = msgspec.field(name="class")
    probabilities: Any


class _Response(msgspec.Struct, gc=False):
    request_id: str
    model: msgspec.Raw
    predictions: list[_Prediction]


_encode: Final = msgspec.json.Encoder().encode


class ResponseRenderer:
    """Renders predictions of one model."""

    def __init__(self, manifest: Manifest, revision: str) -> None:
        identity = {"name": manifest.name, "version": manifest.version, "revision": revision}
        self._model = msgspec.Raw(_encode(identity))
        self._labels = manifest.classes
        # One attribute for each class, encoded under the name of the class, in the manifest's order.
        attributes = {f"p{index}": name for index, name in enumerate(manifest.classes)}
        self._probabilities: Any = msgspec.defstruct(
            "Probabilities", [(name, float) for name in attributes], rename=attributes, gc=False
        )

    def render(self, request_id: str, predictions: Sequence[Prediction]) -> bytes:
        """The JSON of a successful response."""
        labels, probabilities = self._labels, self._probabilities
        if isinstance(predictions, Predictions):
            classes = predictions.classes
            rows = starmap(probabilities, predictions.probabilities.tolist())
            rendered = list(map(_Prediction, map(labels.__getitem__, classes), classes, rows))
        else:
            rendered = [
                _Prediction(
                    labels[prediction.class_index], prediction.class_index, probabilities(*prediction.probabilities)
                )
                for prediction in predictions
            ]
        return _encode(_Response(request_id, self._model, rendered))
