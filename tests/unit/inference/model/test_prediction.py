"""Predictions stored as columns behave like a list of predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.api.predict_response import ResponseRenderer
from iris_inference.api.v2.tensors import OUTPUTS, render_outputs
from iris_inference.model.artifact import Manifest
from iris_inference.model.prediction import Prediction, Predictions, classes_of, probabilities_of
from iris_inference.recording.copy_format import RowEncoder
from support.inference import graphs

CLASSES = ("setosa", "versicolor", "virginica")
Rows = list[tuple[int, tuple[float, ...]]]


def random_rows(seed: int, count: int) -> Rows:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet((1, 1, 1), count).astype(np.float32).tolist()
    return [
        (index, tuple(row)) for index, row in zip(random.integers(0, 3, count).tolist(), probabilities, strict=True)
    ]


# Drawn from a seed: shrinking one wrong number in a hundred takes hypothesis minutes.
rows = st.builds(random_rows, st.integers(0, 2**32), st.integers(32, 80))


def list_and_columns(of: Rows) -> tuple[list[Prediction], Predictions]:
    classes, probabilities = map(list, zip(*of, strict=True))
    return [Prediction(*row) for row in of], Predictions(classes, np.array(probabilities, np.float64))


@given(rows)
def test_columns_and_a_list_have_the_same_elements(of: Rows) -> None:
    """Seen to fail with classes off by one, and with a slice that kept all probabilities."""
    single, columns = list_and_columns(of)
    assert len(columns) == len(single)
    assert list(columns) == single
    assert [columns[index] for index in range(len(single))] == single
    assert list(columns[5:20]) == single[5:20]
    assert classes_of(columns) == classes_of(single)
    assert probabilities_of(columns).tolist() == probabilities_of(single).tolist()


@given(rows)
def test_columns_and_a_list_are_rendered_and_recorded_as_the_same_bytes(of: Rows) -> None:
    """Seen to fail when the names, or the probabilities, came from the wrong instance."""
    single, columns = list_and_columns(of)
    manifest = graphs.artifact(graphs.square_root()).manifest
    assert render(manifest, columns) == render(manifest, single)
    recorded = RowEncoder(("iris", "1.0.0", "d" * 64, "r"), 4, CLASSES)
    instances = [(5.1, 3.5, 1.4, 0.2)] * len(single)
    assert recorded.encode("a", 0.0, instances, columns) == recorded.encode("a", 0.0, instances, single)


@pytest.mark.parametrize("binary", [False, True])
@given(of=rows)
def test_columns_and_a_list_are_the_same_tensors(of: Rows, binary: bool) -> None:
    single, columns = list_and_columns(of)
    wanted = [(name, binary) for name in OUTPUTS]
    assert render_outputs(wanted, columns, CLASSES) == render_outputs(wanted, single, CLASSES)


def render(manifest: Manifest, predictions: list[Prediction] | Predictions) -> bytes:
    return ResponseRenderer(manifest, "r").render("a", predictions)
