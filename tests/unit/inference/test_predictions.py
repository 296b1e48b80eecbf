"""Predictions in columns are to everyone what a list of them is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.artifact import Manifest
from iris_inference.copyrows import RowEncoder
from iris_inference.predictions import Prediction, Predictions, classes_of, probabilities_of
from iris_inference.render import Renderer
from iris_inference.tensors import OUTPUTS, outputs
from unit.inference import graphs

CLASSES = ("setosa", "versicolor", "virginica")
Rows = list[tuple[int, tuple[float, ...]]]


def drawn(seed: int, count: int) -> Rows:
    chance = np.random.default_rng(seed)
    shares = chance.dirichlet((1, 1, 1), count).astype(np.float32).tolist()
    return [(index, tuple(row)) for index, row in zip(chance.integers(0, 3, count).tolist(), shares, strict=True)]


# By a seed: one wrong number in a hundred takes hypothesis minutes to make small.
rows = st.builds(drawn, st.integers(0, 2**32), st.integers(32, 80))


def both(of: Rows) -> tuple[list[Prediction], Predictions]:
    classes, probabilities = map(list, zip(*of, strict=True))
    return [Prediction(*row) for row in of], Predictions(classes, np.array(probabilities, np.float64))


@given(rows)
def test_they_are_the_same_one_by_one(of: Rows) -> None:
    """Seen to fail with classes one place off, and with a slice that kept all probabilities."""
    alone, columns = both(of)
    assert len(columns) == len(alone)
    assert list(columns) == alone
    assert [columns[place] for place in range(len(alone))] == alone
    assert list(columns[5:20]) == alone[5:20]
    assert classes_of(columns) == classes_of(alone)
    assert probabilities_of(columns).tolist() == probabilities_of(alone).tolist()


@given(rows)
def test_they_are_answered_and_recorded_as_the_same_bytes(of: Rows) -> None:
    """Seen to fail when the names, or the probabilities, came from the wrong flower."""
    alone, columns = both(of)
    manifest = graphs.artifact(graphs.root()).manifest
    assert written(manifest, columns) == written(manifest, alone)
    recorded = RowEncoder(("iris", "1.0.0", "d" * 64, "r"), 4, CLASSES)
    instances = [(5.1, 3.5, 1.4, 0.2)] * len(alone)
    assert recorded.entry("a", 0.0, instances, columns) == recorded.entry("a", 0.0, instances, alone)


@pytest.mark.parametrize("binary", [False, True])
@given(of=rows)
def test_they_are_the_same_tensors(of: Rows, binary: bool) -> None:
    alone, columns = both(of)
    wanted = [(name, binary) for name in OUTPUTS]
    assert outputs(wanted, columns, CLASSES) == outputs(wanted, alone, CLASSES)


def written(manifest: Manifest, predictions: list[Prediction] | Predictions) -> bytes:
    return Renderer(manifest, "r").answer("a", predictions)
