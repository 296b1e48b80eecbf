"""What a model has answered: for a flower, and for many in the columns that it answers in."""

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from iris_inference.matrices import Matrix, matrix


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """The index of the predicted class and the probability of each class, in the manifest's order."""

    class_index: int
    probabilities: tuple[float, ...]


class Predictions(Sequence[Prediction]):
    """Those of many flowers. What goes through all of them takes the columns; a Prediction is made for who asks."""

    __slots__ = ("classes", "probabilities")

    def __init__(self, classes: list[int], probabilities: Matrix) -> None:
        """The class index of each flower, and its probabilities as a row."""
        self.classes = classes
        self.probabilities = probabilities

    def __len__(self) -> int:
        """How many flowers."""
        return len(self.classes)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...

    @overload
    def __getitem__(self, place: slice) -> "Predictions": ...

    def __getitem__(self, place: int | slice) -> "Prediction | Predictions":
        """That of one flower, or those of some."""
        if isinstance(place, slice):
            return Predictions(self.classes[place], self.probabilities[place])
        return Prediction(self.classes[place], tuple(self.probabilities[place].tolist()))

    def __iter__(self) -> Iterator[Prediction]:
        """Those of all, one by one."""
        return map(Prediction, self.classes, map(tuple, self.probabilities.tolist()))


def classes_of(predictions: Sequence[Prediction]) -> list[int]:
    """The class index of each flower. Not to be changed."""
    if isinstance(predictions, Predictions):
        return predictions.classes
    return [prediction.class_index for prediction in predictions]


def probabilities_of(predictions: Sequence[Prediction]) -> Matrix:
    """The probabilities of each flower as a row."""
    if isinstance(predictions, Predictions):
        return predictions.probabilities
    return matrix([prediction.probabilities for prediction in predictions])
