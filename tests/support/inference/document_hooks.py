"""Constraints that JSON Schema cannot express: which parts of an inference request have to fit together.

Loaded by Schemathesis, not by pytest. Requests that are meant to be wrong are left alone.
"""

import json
import struct
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, HookContext

HEADER_LENGTH = "Inference-Header-Content-Length"
OCTETS = "application/octet-stream"
_lengths = st.floats(-1e6, 1e6, width=32)


@st.composite
def _binary_requests(draw: st.DrawFn) -> bytes:
    rows = draw(st.lists(st.tuples(_lengths, _lengths, _lengths, _lengths), min_size=1, max_size=5))
    tensor = b"".join(struct.pack("<4f", *row) for row in rows)
    described = {"name": "features", "shape": [len(rows), 4], "datatype": "FP32"}
    head = {"inputs": [described | {"parameters": {"binary_data_size": len(tensor)}}]}
    # The hook below finds the end of the JSON again: what follows it may contain any bytes.
    return json.dumps(head).encode() + tensor


schemathesis.openapi.media_type(OCTETS, _binary_requests())


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Make a valid inference request fit together."""
    del context, kwargs
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE or not _infers(case):
        return
    body: Any = case.body
    case.headers.pop(HEADER_LENGTH, None)
    if isinstance(body, bytes):
        if body.startswith(b'{"inputs"'):
            case.headers[HEADER_LENGTH] = str(body.index(b"}}]}") + 4)
    elif isinstance(body, dict):
        for tensor in body["inputs"]:
            _fit(tensor)


def _infers(case: Case[Any]) -> bool:
    return str(case.operation.path).endswith("/infer")


def _fit(tensor: dict[str, Any]) -> None:
    data = tensor["data"]
    if isinstance(data[0], list):
        tensor["shape"] = [len(data), 4]
    else:
        tensor["data"] = data[: len(data) // 4 * 4]
        tensor["shape"] = [len(data) // 4, 4]
