import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.api.schemas import FEATURES, MAX_LENGTH_CM
from iris_inference.model.arrays import to_matrix
from iris_inference.model.artifact import ArtifactError
from iris_inference.model.runtime import FailureReason, InferenceError, Instance, Model, pack
from support.inference import graphs

# Only the petal length decides: the longer, the higher the class index.
BY_PETAL_LENGTH = [[0, 0, 0], [0, 0, 0], [-1, 0, 1], [0, 0, 0]]
SMALL, LARGE = (5.0, 3.0, 1.0, 0.2), (5.0, 3.0, 6.0, 0.2)


def test_predictions_come_in_the_order_of_the_instances() -> None:
    model = Model(graphs.artifact(graphs.linear(BY_PETAL_LENGTH)), FEATURES)
    predictions = model.predict(pack([LARGE, SMALL, LARGE]))
    assert [prediction.class_index for prediction in predictions] == [2, 2, 2]
    assert predictions[0].probabilities[2] > predictions[1].probabilities[2]
    assert predictions[0] == predictions[2]


def test_features_are_mapped_by_name_not_by_order() -> None:
    in_order = Model(graphs.artifact(graphs.linear(BY_PETAL_LENGTH)), FEATURES)
    reversed_ = Model(graphs.artifact(graphs.linear(BY_PETAL_LENGTH[::-1]), FEATURES[::-1]), FEATURES)
    assert reversed_.predict(pack([SMALL, LARGE])) == in_order.predict(pack([SMALL, LARGE]))


def test_a_model_may_use_fewer_features_than_a_request_carries() -> None:
    narrow = Model(graphs.artifact(graphs.linear([[-1, 0, 1]]), ["petal_length"]), FEATURES)
    wide = Model(graphs.artifact(graphs.linear(BY_PETAL_LENGTH)), FEATURES)
    assert narrow.predict(pack([LARGE])) == wide.predict(pack([LARGE]))


def test_a_feature_that_requests_do_not_have_is_a_mismatch() -> None:
    weights = [[0.0, 0.0, 0.0]] * 5
    model = Model(graphs.artifact(graphs.linear(weights), [*FEATURES, "petal_area"]), FEATURES)
    assert model.missing_features == ("petal_area",)
    with pytest.raises(InferenceError, match="petal_area") as failure:
        model.predict(pack([SMALL]))
    assert failure.value.reason is FailureReason.FEATURE_MISMATCH


def test_a_probability_that_is_not_finite_is_a_failure() -> None:
    model = Model(graphs.artifact(graphs.square_root()), FEATURES)
    assert model.predict(pack([SMALL]))
    with pytest.raises(InferenceError, match="nan") as failure:
        model.predict(pack([SMALL, (-5.0, -3.0, -1.0, -0.2)]))
    assert failure.value.reason is FailureReason.NON_FINITE


def test_one_prediction_of_many_that_is_not_finite_is_a_failure() -> None:
    model = Model(graphs.artifact(graphs.square_root()), FEATURES)
    assert len(model.predict(pack([SMALL] * 200))) == 200
    with pytest.raises(InferenceError, match="nan") as failure:
        model.predict(pack([SMALL] * 199 + [(-5.0, -3.0, -1.0, -0.2)]))
    assert failure.value.reason is FailureReason.NON_FINITE


@pytest.mark.parametrize("wrong", [-1, 3])
@pytest.mark.parametrize("instances", [1, 100])
def test_a_class_that_the_manifest_does_not_have_is_a_failure(wrong: int, instances: int) -> None:
    model = Model(graphs.artifact(graphs.linear(BY_PETAL_LENGTH)), FEATURES)
    labels = np.array([2] * (instances - 1) + [wrong])
    with pytest.raises(InferenceError, match="there are 3 classes") as failure:
        model._validated(labels, np.ones((instances, 3), np.float32))
    assert failure.value.reason is FailureReason.RUNTIME_ERROR


lengths = st.floats(-MAX_LENGTH_CM, MAX_LENGTH_CM)


@given(st.lists(st.tuples(lengths, lengths, lengths, lengths), min_size=1, max_size=50))
def test_the_input_of_the_model_is_the_same_for_any_number_of_instances(instances: list[Instance]) -> None:
    alone = [packed for instance in instances for packed in pack([instance])]
    assert pack(instances) == pack(to_matrix(instances)) == alone
    assert {type(packed) for packed in pack(to_matrix(instances))} == {bytes}


def test_what_onnx_runtime_raises_is_a_failure() -> None:
    model = Model(graphs.artifact(graphs.gather()), FEATURES)
    assert model.predict(pack([(0.0, 1.0, 2.0, 0.0)]))
    with pytest.raises(InferenceError) as failure:
        model.predict(pack([(0.0, 1.0, 3.0, 0.0)]))
    assert failure.value.reason is FailureReason.RUNTIME_ERROR


def test_a_manifest_with_other_features_than_the_model_is_rejected_at_load() -> None:
    with pytest.raises(ArtifactError, match=r"\['features', |features.*5 features.*petal_area"):
        Model(graphs.artifact(graphs.linear(BY_PETAL_LENGTH), [*FEATURES, "petal_area"]), FEATURES)


def test_a_manifest_with_other_classes_than_the_model_is_rejected_at_load() -> None:
    with pytest.raises(ArtifactError, match="2 classes"):
        Model(graphs.artifact(graphs.linear(BY_PETAL_LENGTH), classes=["a", "b"]), FEATURES)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04cos\nsystem\n.", b"PK\x03\x04", b"\x08\x0a" * 100],
    ids=["empty", "pickle", "zip", "noise"],
)
def test_an_invalid_model_is_rejected_at_load(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="cannot load the model"):
        Model(graphs.artifact(content), FEATURES)
