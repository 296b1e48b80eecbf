import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.cache.base import CacheCodec
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Packed, pack

CODEC = CacheCodec("a" * 64, 3, "5f3a2b")
lengths = st.floats(allow_nan=False, allow_infinity=False, width=32)
instances = st.tuples(lengths, lengths, lengths, lengths)
probabilities = st.floats(0, 1)
predictions = st.builds(Prediction, st.integers(0, 2), st.tuples(probabilities, probabilities, probabilities))


def packed(*instance: float) -> Packed:
    (packed_instance,) = pack([instance])
    return packed_instance


@given(instances, predictions)
def test_an_encoded_prediction_is_decoded_again(instance: tuple[float, ...], prediction: Prediction) -> None:
    packed_instance = packed(*instance)
    assert CODEC.decode(packed_instance, CODEC.encode(packed_instance, prediction)) == prediction


@given(instances, instances)
def test_different_features_have_different_keys(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    assert one == other or CODEC.key(packed(*one)) != CODEC.key(packed(*other))


def test_the_smallest_difference_in_single_precision_is_another_key() -> None:
    tenth = np.float32(0.1)
    assert packed(float(tenth), 1, 1, 1) != packed(float(np.nextafter(tenth, np.float32(1))), 1, 1, 1)


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 4))
def test_equal_features_in_single_precision_have_the_same_key(instance: tuple[float, ...]) -> None:
    assert packed(*instance) == packed(*np.array(instance, dtype=np.float32).tolist())


def test_another_model_has_other_keys() -> None:
    assert CODEC.key(packed(1, 1, 1, 1)) != CacheCodec("b" * 64, 3, "5f3a2b").key(packed(1, 1, 1, 1))


def test_another_revision_of_the_same_model_has_other_keys_and_pods_of_one_revision_share_theirs() -> None:
    key = CODEC.key(packed(1, 1, 1, 1))
    control = CacheCodec("a" * 64, 3, "5f3a2b-control-9d8e7f")
    assert control.key(packed(1, 1, 1, 1)) != key
    assert CacheCodec("a" * 64, 3, "5f3a2b").key(packed(1, 1, 1, 1)) == key
    assert len(control.key(packed(1, 1, 1, 1))) == len(key)


@given(instances, predictions, st.data())
def test_a_damaged_value_is_not_decoded(
    instance: tuple[float, ...], prediction: Prediction, data: st.DataObject
) -> None:
    packed_instance = packed(*instance)
    value = bytearray(CODEC.encode(packed_instance, prediction))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    assert CODEC.decode(packed_instance, bytes(value)) is None


@given(st.binary(max_size=200))
def test_a_foreign_value_is_not_decoded(value: bytes) -> None:
    assert CODEC.decode(packed(1, 2, 3, 4), value) is None


@given(instances, predictions)
def test_a_value_of_another_model_is_not_decoded(instance: tuple[float, ...], prediction: Prediction) -> None:
    packed_instance = packed(*instance)
    assert CODEC.decode(packed_instance, CacheCodec("b" * 64, 3, "5f3a2b").encode(packed_instance, prediction)) is None


@given(instances, predictions)
def test_a_value_of_another_revision_is_not_decoded(instance: tuple[float, ...], prediction: Prediction) -> None:
    packed_instance = packed(*instance)
    other = CacheCodec("a" * 64, 3, "5f3a2b-control-9d8e7f")
    assert CODEC.decode(packed_instance, other.encode(packed_instance, prediction)) is None


@given(predictions)
def test_a_value_under_another_key_is_not_decoded(prediction: Prediction) -> None:
    value = CODEC.encode(packed(1, 1, 1, 1), prediction)
    assert CODEC.decode(packed(1, 1, 1, 2), value) is None


def test_an_impossible_prediction_is_not_decoded() -> None:
    packed_instance = packed(1, 1, 1, 1)
    for foreign in (Prediction(3, (0.1, 0.2, 0.7)), Prediction(0, (math.nan, 0.2, 0.7))):
        assert CODEC.decode(packed_instance, CODEC.encode(packed_instance, foreign)) is None
