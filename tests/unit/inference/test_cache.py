import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.cache import Codec
from iris_inference.predictions import Prediction
from iris_inference.runtime import Packed, pack

CODEC = Codec("a" * 64, 3)
lengths = st.floats(allow_nan=False, allow_infinity=False, width=32)
instances = st.tuples(lengths, lengths, lengths, lengths)
probabilities = st.floats(0, 1)
predictions = st.builds(Prediction, st.integers(0, 2), st.tuples(probabilities, probabilities, probabilities))


def packed(*instance: float) -> Packed:
    (flower,) = pack([instance])
    return flower


@given(instances, predictions)
def test_what_was_kept_comes_back(instance: tuple[float, ...], prediction: Prediction) -> None:
    flower = packed(*instance)
    assert CODEC.decode(flower, CODEC.encode(flower, prediction)) == prediction


@given(instances, instances)
def test_different_features_have_different_keys(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    assert one == other or CODEC.key(packed(*one)) != CODEC.key(packed(*other))


def test_the_smallest_difference_that_the_model_sees_is_another_key() -> None:
    tenth = np.float32(0.1)
    assert packed(float(tenth), 1, 1, 1) != packed(float(np.nextafter(tenth, np.float32(1))), 1, 1, 1)


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 4))
def test_what_is_the_same_to_the_model_has_the_same_key(instance: tuple[float, ...]) -> None:
    assert packed(*instance) == packed(*np.array(instance, dtype=np.float32).tolist())


def test_another_model_has_other_keys() -> None:
    assert CODEC.key(packed(1, 1, 1, 1)) != Codec("b" * 64, 3).key(packed(1, 1, 1, 1))


@given(instances, predictions, st.data())
def test_a_damaged_value_is_not_believed(
    instance: tuple[float, ...], prediction: Prediction, data: st.DataObject
) -> None:
    flower = packed(*instance)
    value = bytearray(CODEC.encode(flower, prediction))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    assert CODEC.decode(flower, bytes(value)) is None


@given(st.binary(max_size=200))
def test_a_foreign_value_is_not_believed(value: bytes) -> None:
    assert CODEC.decode(packed(1, 2, 3, 4), value) is None


@given(instances, predictions)
def test_a_value_of_another_model_is_not_believed(instance: tuple[float, ...], prediction: Prediction) -> None:
    flower = packed(*instance)
    assert CODEC.decode(flower, Codec("b" * 64, 3).encode(flower, prediction)) is None


@given(predictions)
def test_a_value_under_another_key_is_not_believed(prediction: Prediction) -> None:
    value = CODEC.encode(packed(1, 1, 1, 1), prediction)
    assert CODEC.decode(packed(1, 1, 1, 2), value) is None


def test_a_value_that_no_model_of_ours_can_have_written_is_not_believed() -> None:
    flower = packed(1, 1, 1, 1)
    for foreign in (Prediction(3, (0.1, 0.2, 0.7)), Prediction(0, (math.nan, 0.2, 0.7))):
        assert CODEC.decode(flower, CODEC.encode(flower, foreign)) is None
