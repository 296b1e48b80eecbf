"""A mirrored request: its encoding, the decoding of its response, and the comparison with stable's prediction."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from iris_inference.model.runtime import Instance
from iris_inference.shadow import shadow_token
from iris_inference.shadow.config import ShadowConfig, ShadowTarget
from iris_inference.shadow.http_client import HttpResponse
from iris_inference.shadow.metrics import REJECTED_CODES, LabelResult, PairResult, SendResult

# The path where a pod receives mirrored requests.
SHADOW_PATH: Final = "/v1/shadow"
_OK: Final = HTTPStatus.OK.value
# The request was rejected, or the server does not support shadow traffic: that says nothing about its model.
_REJECTED_STATUSES: Final = REJECTED_CODES | {HTTPStatus.NOT_FOUND.value, HTTPStatus.METHOD_NOT_ALLOWED.value}

# Keys: whether stable was right, and whether the canary was.
LABEL_RESULTS: Final = {
    (True, True): LabelResult.BOTH,
    (True, False): LabelResult.ONLY_STABLE,
    (False, True): LabelResult.ONLY_CANARY,
    (False, False): LabelResult.NEITHER,
}


class MirroredRequest(NamedTuple):
    """A request for the targets of a config. `labels`: what stable predicted, None when it failed."""

    config: ShadowConfig
    request_id: str
    key_id: str | None
    instances: Sequence[Instance]
    labels: Sequence[str] | None


def encode_request(request: MirroredRequest, target: ShadowTarget, token: str) -> bytes:
    """The request as HTTP. The instances are encoded again: the form of the original body does not matter."""
    body = _encode({"instances": request.instances})
    lines = (
        f"POST {SHADOW_PATH} HTTP/1.1",
        f"host: {target.host}:{target.port}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: {request.request_id}",
        f"{shadow_token.HEADER.decode()}: {token}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def decode_response(response: HttpResponse, instances: int) -> tuple[SendResult, Sequence[str] | None]:
    """The result of a request with this response, and the labels, when there are any."""
    if response.status in _REJECTED_STATUSES:
        return SendResult.REFUSED, None
    if response.status != _OK:
        return SendResult.FAILED, None
    try:
        labels = [prediction.label for prediction in _decode(response.body).predictions]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return SendResult.FAILED, None
    return (SendResult.ANSWERED, labels) if len(labels) == instances else (SendResult.FAILED, None)


def compare_labels(stable: Sequence[str] | None, canary: Sequence[str] | None) -> PairResult:
    """Compare the predictions; None: there is none. All instances of a request have to be equal."""
    if stable is None:
        return PairResult.NEITHER if canary is None else PairResult.ONLY_CANARY
    if canary is None:
        return PairResult.ONLY_STABLE
    return PairResult.SAME if list(stable) == list(canary) else PairResult.DIFFERENT


class _Prediction(msgspec.Struct):
    label: str


class _Response(msgspec.Struct):
    """The part of a prediction response that is compared."""

    predictions: list[_Prediction]


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Response).decode
