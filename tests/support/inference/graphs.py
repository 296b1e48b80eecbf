"""Small hand-made ONNX models, each with one property that training does not give."""

import hashlib
from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from iris_inference.api.schemas import FEATURES
from iris_inference.model.artifact import Artifact, Manifest

CLASSES = ("setosa", "versicolor", "virginica")


def artifact(model: bytes, features: Sequence[str] = FEATURES, classes: Sequence[str] = CLASSES) -> Artifact:
    manifest = Manifest(
        name="iris",
        version="1.0.0",
        features=tuple(features),
        classes=tuple(classes),
        sha256=hashlib.sha256(model).hexdigest(),
        size_bytes=max(1, len(model)),
    )
    return Artifact(manifest, model)


def linear(weights: Sequence[Sequence[float]]) -> bytes:
    """Softmax of features times weights: a row of weights for each feature, a column for each class."""
    return _model(
        [
            helper.make_node("MatMul", ["features", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        weights,
    )


def square_root() -> bytes:
    """Square roots of the sums: not a number for negative lengths."""
    return _model(
        [
            helper.make_node("MatMul", ["features", "weights"], ["sums"]),
            helper.make_node("Sqrt", ["sums"], ["probabilities"]),
        ],
        np.ones((4, 3)).tolist(),
    )


def batch_dependent() -> bytes:
    """Scores divided by the largest of the batch: a prediction depends on the rest of its batch."""
    return _model(
        [
            helper.make_node("MatMul", ["features", "weights"], ["scores"]),
            helper.make_node("ReduceMax", ["scores"], ["largest"], keepdims=1),
            helper.make_node("Div", ["scores", "largest"], ["probabilities"]),
        ],
        np.ones((4, 3)).tolist(),
    )


def gather() -> bytes:
    """Uses a feature as an index into three numbers: fails at run time for 3 and more."""
    return _model(
        [
            helper.make_node("Cast", ["features"], ["indices"], to=TensorProto.INT64),
            helper.make_node("Gather", ["numbers", "indices"], ["gathered"]),
            helper.make_node("MatMul", ["gathered", "weights"], ["probabilities"]),
        ],
        np.ones((4, 3)).tolist(),
    )


def _model(nodes: list[NodeProto], weights: Sequence[Sequence[float]]) -> bytes:
    width, classes = np.shape(weights)
    graph = helper.make_graph(
        [
            *nodes,
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        "by-hand",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, classes]),
        ],
        [
            numpy_helper.from_array(np.asarray(weights, np.float32), "weights"),
            numpy_helper.from_array(np.asarray([0.2, 0.3, 0.5], np.float32), "numbers"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content
