import json
from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.model.prediction import Prediction
from iris_inference.recording import copy_format
from iris_inference.recording.copy_format import RowEncoder
from iris_inference.recording.record import merge_entries
from support.inference.entries import AT

CLASSES = ("setosa", "versicolor", "virginica")
IDENTITY = ("iris", "1.0.0", "d" * 64, "r")

doubles = st.floats(allow_nan=False, width=64)
feature_tuples = st.tuples(doubles, doubles, doubles, doubles)
predictions = st.builds(Prediction, st.integers(0, 2), st.tuples(doubles, doubles, doubles))
Pairs = list[tuple[tuple[float, ...], Prediction]]


@given(st.integers(0, 2**32), st.integers(16, 60), st.sets(st.integers(0, 2), min_size=1))
def test_the_columnar_encoding_expands_to_the_same_rows(seed: int, count: int, present: set[int]) -> None:
    """Seen to fail without the indices of the instances, with the features one byte off, and when a class without an
    instance was counted."""
    random = np.random.default_rng(seed)
    values = random.uniform(-10, 10, (count, 7)).tolist()
    classes = random.choice(sorted(present), count).tolist()
    pairs = [(tuple(row[:4]), Prediction(index, tuple(row[4:]))) for row, index in zip(values, classes, strict=True)]
    encoder = RowEncoder(IDENTITY, 4, CLASSES)
    at = AT.timestamp()
    instances, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    many = encoder.encode("order-17", at, instances, predicted)
    assert (many.rows, many.predicted_at) == (len(pairs), at)
    # Encoded one by one; the columnar encoding groups them by class.
    start = copy_format._COLUMN_COUNT + copy_format._encode_text("order-17")
    rows = [encoder._encode_row(start, index, *pair) for index, pair in enumerate(pairs)]
    by_class = sorted(range(len(pairs)), key=lambda index: predicted[index].class_index)
    assert copy_format.to_rows(many) == b"".join(rows[index] for index in by_class)


def test_requests_at_different_times_are_recorded_at_different_times() -> None:
    encoder = RowEncoder(IDENTITY, 4, CLASSES)
    one = [(1.0, 2.0, 3.0, 4.0)], [Prediction(0, (1.0, 0.0, 0.0))]
    first, second = (encoder.encode("a", (AT + timedelta(days=days)).timestamp(), *one) for days in (0, 1))
    again = encoder.encode("a", AT.timestamp(), *one)
    assert first.payload == again.payload != second.payload


def test_the_columnar_encoding_is_smaller() -> None:
    many = [(1.0, 2.0, 3.0, 4.0)] * 256, [Prediction(number % 3, (1.0, 0.0, 0.0)) for number in range(256)]
    entry = RowEncoder(IDENTITY, 4, CLASSES).encode("order-17", AT.timestamp(), *many)
    assert 4 * len(entry.payload) < len(copy_format.to_rows(entry))


@given(st.lists(st.tuples(feature_tuples, predictions), min_size=1, max_size=20))
def test_a_json_record_of_an_earlier_release_becomes_the_same_rows(pairs: Pairs) -> None:
    written = {
        "request_id": "order-17",
        "predicted_at": "2024-01-31T12:00:00.250000Z",
        **dict(zip(("model_name", "model_version", "model_digest", "revision"), IDENTITY, strict=True)),
        "instances": [
            {"features": features, "label": CLASSES[prediction.class_index], "probabilities": prediction.probabilities}
            for features, prediction in pairs
        ],
    }
    at = (AT + timedelta(milliseconds=250)).timestamp()
    entry = RowEncoder(IDENTITY, 4, CLASSES).encode("order-17", at, *map(list, zip(*pairs, strict=True)))
    assert copy_format.from_json(json.dumps(written).encode()) == entry


def test_the_request_id_is_read_from_the_rows() -> None:
    entry = RowEncoder(IDENTITY, 4, CLASSES).encode("order-17", 0.0, [(1, 2, 3, 4)], [Prediction(0, (1.0, 0.0, 0.0))])
    assert copy_format.first_request_id(entry.payload) == "order-17"


def test_merged_entries_are_split_by_request_again() -> None:
    encoder = RowEncoder(IDENTITY, 4, CLASSES)
    instance, prediction = (1.0, 2.0, 3.0, 4.0), Prediction(2, (0.0, 0.0, 1.0))
    entries = [
        encoder.encode(name, AT.timestamp(), [instance] * rows, [prediction] * rows)
        for name, rows in (("a", 1), ("b", 3), ("c", 20), ("d", 1))
    ]
    merged = merge_entries(entries)
    assert [entry.rows for entry in merged] == [20, 5]
    assert [single for entry in merged for single in copy_format.split_by_request(entry)] == [
        entries[2],
        *entries[:2],
        entries[3],
    ]
