"""Predictions: one per instance, or many of them in columns as the model returns them."""

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from iris_inference.model.arrays import Matrix, to_matrix


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """The index of the predicted class and the probability of each class, in the manifest's order."""

    class_index: int
    probabilities: tuple[float, ...]


class Predictions(Sequence[Prediction]):
    """The predictions of many instances, stored as columns. Prediction objects are created only on access."""

    __slots__ = ("classes", "probabilities")

    def __init__(self, classes: list[int], probabilities: Matrix) -> None:
        """`classes`: the class index of each instance; `probabilities`: shape (instances, classes)."""
        self.classes = classes
        self.probabilities = probabilities

    def __len__(self) -> int:
        """The number of instances."""
        return len(self.classes)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> "Predictions": ...

    def __getitem__(self, index: int | slice) -> "Prediction | Predictions":
        """The prediction of one instance, or the predictions of a slice."""
        if isinstance(index, slice):
            return Predictions(self.classes[index], self.probabilities[index])
        return Prediction(self.classes[index], tuple(self.probabilities[index].tolist()))

    def __iter__(self) -> Iterator[Prediction]:
        """All predictions in order."""
        return map(Prediction, self.classes, map(tuple, self.probabilities.tolist()))


def classes_of(predictions: Sequence[Prediction]) -> list[int]:
    """The class index of each instance. The list must not be modified."""
    if isinstance(predictions, Predictions):
        return predictions.classes
    return [prediction.class_index for prediction in predictions]


def probabilities_of(predictions: Sequence[Prediction]) -> Matrix:
    """The probabilities, shape (instances, classes)."""
    if isinstance(predictions, Predictions):
        return predictions.probabilities
    return to_matrix([prediction.probabilities for prediction in predictions])
