"""ONNX Runtime behind a plain ASGI function: no framework and no validation, only the cost of JSON and the model."""

import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

_OPTIONS = onnxruntime.SessionOptions()
_OPTIONS.intra_op_num_threads = 1
_SESSION: Final = onnxruntime.InferenceSession(
    Path(os.environ["MODEL_FILE"]).read_bytes(), _OPTIONS, providers=["CPUExecutionProvider"]
)
_INPUT: Final = _SESSION.get_inputs()[0].name


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    instances = np.asarray(json.loads(body)["instances"], dtype=np.float32)
    labels, probabilities = _SESSION.run(None, {_INPUT: instances})
    predictions = [
        {"class": label, "probabilities": row}
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    ]
    answer = json.dumps({"predictions": predictions}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
