"""The two ways in which the servers want to be asked."""

import json
from collections.abc import Sequence
from typing import Any, Final

from bench.inference.contestant import Form
from bench.inference.flowers import Flower

CONTENT_TYPE: Final = "application/json"


def instances(path: str, class_field: str = "class") -> Form:
    """A list of flowers; the answer has a prediction for each, with its class in `class_field`."""
    return Form(
        path,
        lambda flowers: json.dumps({"instances": flowers}).encode(),
        lambda answer: [prediction[class_field] for prediction in answer["predictions"]],
    )


def tensor(path: str) -> Form:
    """The Open Inference Protocol, asked for probabilities: who wants a class takes the most probable one."""
    return Form(path, _tensor, _most_probable)


def _tensor(flowers: Sequence[Flower]) -> bytes:
    values = [length for flower in flowers for length in flower]
    inputs = [{"name": "features", "shape": [len(flowers), 4], "datatype": "FP32", "data": values}]
    return json.dumps({"inputs": inputs, "outputs": [{"name": "predict_proba"}]}).encode()


def _most_probable(answer: Any) -> list[int]:
    (output,) = answer["outputs"]
    rows, classes = output["shape"]
    values = output["data"]
    return [max(range(classes), key=values[row * classes : (row + 1) * classes].__getitem__) for row in range(rows)]
