"""Converts a fitted scikit-learn classifier to an ONNX model that gives the same predictions.

The input is FP32 for every kind of model; the internal precision is what that kind needs.
"""

from typing import Any, Final

import numpy as np
import skl2onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.ensemble import RandomForestClassifier

from iris_training.recipes import Classifier

INPUT_NAME: Final = "features"
OPSETS: Final = {"": 21, "ai.onnx.ml": 3}


def to_onnx(trained: Classifier, width: int, name: str) -> bytes:
    """The ONNX model. Input: `width` FP32 features. Outputs: the class index and the probability of each class.

    `name` is the name of the graph. The same arguments give the same bytes.
    """
    if isinstance(trained, RandomForestClassifier):
        proto = _convert_forest(trained, width, name)
    else:
        proto = _convert(trained, FloatTensorType([None, width]), name)
    # skl2onnx lists the operator sets in the order of a Python set; unsorted, the digest would differ between runs.
    operator_sets = sorted(proto.opset_import, key=lambda operator_set: str(operator_set.domain))
    del proto.opset_import[:]
    proto.opset_import.extend(operator_sets)
    serialized: bytes = proto.SerializeToString(deterministic=True)
    return serialized


def _convert(trained: Classifier, input_type: Any, name: str) -> ModelProto:
    proto: ModelProto = skl2onnx.to_onnx(
        trained,
        # A fixed graph name: the default is random, and the digest would differ between builds.
        name=name,
        initial_types=[(INPUT_NAME, input_type)],
        options={id(trained): {"zipmap": False}},
        target_opset=OPSETS,
    )
    return proto


def _convert_forest(trained: Any, width: int, name: str) -> ModelProto:
    """A random forest whose votes are summed as scikit-learn sums them.

    Two classes often have equal votes, and then the last bit decides. scikit-learn sums the trees' votes in double
    precision and divides once; the default conversion sums votes that were already divided, in single precision, so
    that the label depends on the order of the trees. It also rounds the thresholds.
    """
    proto = _convert(trained, DoubleTensorType([None, width]), name)
    (trees,) = proto.graph.node
    _use_double_precision(trees, trained)
    features = proto.graph.input[0]
    probabilities = proto.graph.output[1].name
    # The converter declares the oldest version with the operators it used; tensors of doubles need version 3.
    for operator_set in proto.opset_import:
        operator_set.version = OPSETS[operator_set.domain]
    doubles, votes = f"{features.name}_double", f"{probabilities}_sum"
    features.type.tensor_type.elem_type = TensorProto.FLOAT
    trees.input[0] = doubles
    trees.output[1] = votes
    proto.graph.node.insert(0, helper.make_node("Cast", [features.name], [doubles], to=TensorProto.DOUBLE))
    proto.graph.node.append(helper.make_node("Div", [votes, "trees"], [probabilities]))
    count = np.array(len(trained.estimators_), dtype=np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(count, "trees"))
    return proto


def _use_double_precision(node: Any, trained: Any) -> None:
    """Use scikit-learn's own thresholds, and let each leaf vote with the undivided weight of its tree."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    trees = [estimator.tree_ for estimator in trained.estimators_]
    nodes = zip(attributes["nodes_treeids"].ints, attributes["nodes_nodeids"].ints, strict=True)
    leaves = zip(*(attributes[f"class_{ids}"].ints for ids in ("treeids", "nodeids", "ids")), strict=True)
    exact = {
        "nodes_values": [trees[tree].threshold[node] for tree, node in nodes],
        "class_weights": [trees[tree].value[node, 0, label] for tree, node, label in leaves],
    }
    for name, values in exact.items():
        node.attribute.remove(attributes[name])
        tensor = numpy_helper.from_array(np.array(values, dtype=np.float64), name)
        node.attribute.append(helper.make_attribute(f"{name}_as_tensor", tensor))
