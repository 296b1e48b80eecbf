"""The two request formats of the servers."""

import json
from collections.abc import Sequence
from typing import Any, Final

from bench.inference.instances import Instance
from bench.inference.server import RequestFormat

CONTENT_TYPE: Final = "application/json"


def json_instances(path: str, class_field: str = "class") -> RequestFormat:
    """A list of instances; the response has a prediction for each, with its class in `class_field`."""
    return RequestFormat(
        path,
        lambda instances: json.dumps({"instances": instances}).encode(),
        lambda response: [prediction[class_field] for prediction in response["predictions"]],
    )


def v2_tensor(path: str) -> RequestFormat:
    """The Open Inference Protocol, requesting probabilities; the label is the most probable class."""
    return RequestFormat(path, _tensor, _most_probable)


def _tensor(instances: Sequence[Instance]) -> bytes:
    values = [value for instance in instances for value in instance]
    inputs = [{"name": "features", "shape": [len(instances), 4], "datatype": "FP32", "data": values}]
    return json.dumps({"inputs": inputs, "outputs": [{"name": "predict_proba"}]}).encode()


def _most_probable(response: Any) -> list[int]:
    (output,) = response["outputs"]
    rows, classes = output["shape"]
    values = output["data"]
    return [max(range(classes), key=values[row * classes : (row + 1) * classes].__getitem__) for row in range(rows)]
