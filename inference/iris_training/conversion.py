"""Turns a fitted scikit-learn classifier into an ONNX model that gives the same answers.

What is fed in is FP32 for every kind of model; what happens inside is as exact as that kind needs.
"""

from typing import Any, Final

import numpy as np
import skl2onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.ensemble import RandomForestClassifier

from iris_training.recipes import Classifier

INPUT: Final = "features"
OPSETS: Final = {"": 21, "ai.onnx.ml": 3}


def to_onnx(trained: Classifier, width: int, name: str) -> bytes:
    """The ONNX model: `width` FP32 features in; the class index and the probability of each class out.

    `name` becomes the graph's. The same inputs give the same bytes.
    """
    if isinstance(trained, RandomForestClassifier):
        proto = _forest(trained, width, name)
    else:
        proto = _converted(trained, FloatTensorType([None, width]), name)
    # skl2onnx lists the operator sets in the order of a Python set: sorted, or the digest changes from run to run.
    operator_sets = sorted(proto.opset_import, key=lambda operator_set: str(operator_set.domain))
    del proto.opset_import[:]
    proto.opset_import.extend(operator_sets)
    serialized: bytes = proto.SerializeToString(deterministic=True)
    return serialized


def _converted(trained: Classifier, input_type: Any, name: str) -> ModelProto:
    proto: ModelProto = skl2onnx.to_onnx(
        trained,
        # A fixed graph name: the default is a random one, and the digest would differ at each build.
        name=name,
        initial_types=[(INPUT, input_type)],
        options={id(trained): {"zipmap": False}},
        target_opset=OPSETS,
    )
    return proto


def _forest(trained: Any, width: int, name: str) -> ModelProto:
    """A forest whose votes are counted as scikit-learn counts them.

    Two classes often get the same share of the votes, and then the last bit decides. scikit-learn adds up the trees'
    shares in double precision and divides once; the usual conversion adds up shares that were divided before, in
    single precision, and its label depends on the order of the trees. It rounds the thresholds, too.
    """
    proto = _converted(trained, DoubleTensorType([None, width]), name)
    (trees,) = proto.graph.node
    _in_double_precision(trees, trained)
    features = proto.graph.input[0]
    probabilities = proto.graph.output[1].name
    # The converter declares the oldest version that has what it used; tensors of doubles came with the third.
    for operator_set in proto.opset_import:
        operator_set.version = OPSETS[operator_set.domain]
    doubles, shares = f"{features.name}_double", f"{probabilities}_sum"
    features.type.tensor_type.elem_type = TensorProto.FLOAT
    trees.input[0] = doubles
    trees.output[1] = shares
    proto.graph.node.insert(0, helper.make_node("Cast", [features.name], [doubles], to=TensorProto.DOUBLE))
    proto.graph.node.append(helper.make_node("Div", [shares, "trees"], [probabilities]))
    count = np.array(len(trained.estimators_), dtype=np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(count, "trees"))
    return proto


def _in_double_precision(node: Any, trained: Any) -> None:
    """Compare with scikit-learn's own thresholds, and let each leaf vote with the whole share of its tree."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    trees = [estimator.tree_ for estimator in trained.estimators_]
    places = zip(attributes["nodes_treeids"].ints, attributes["nodes_nodeids"].ints, strict=True)
    leaves = zip(*(attributes[f"class_{ids}"].ints for ids in ("treeids", "nodeids", "ids")), strict=True)
    exact = {
        "nodes_values": [trees[tree].threshold[place] for tree, place in places],
        "class_weights": [trees[tree].value[place, 0, label] for tree, place, label in leaves],
    }
    for name, values in exact.items():
        node.attribute.remove(attributes[name])
        tensor = numpy_helper.from_array(np.array(values, dtype=np.float64), name)
        node.attribute.append(helper.make_attribute(f"{name}_as_tensor", tensor))
