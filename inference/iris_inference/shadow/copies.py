"""A copy of a request: how it is written, what is understood of the answer, and how that compares with stable's."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from iris_inference.runtime import Instance
from iris_inference.shadow import ticket
from iris_inference.shadow.counts import NOT_LET_IN, Labelled, Pair, Sent
from iris_inference.shadow.link import Reply
from iris_inference.shadow.plan import Plan

# Where a pod takes copies in.
SHADOW_PATH: Final = "/v1/shadow"
_OK: Final = HTTPStatus.OK.value
# The copy was not let in, or the other side knows of no copies: that says nothing about its model.
_REFUSED: Final = NOT_LET_IN | {HTTPStatus.NOT_FOUND.value, HTTPStatus.METHOD_NOT_ALLOWED.value}

# By whether stable was right, and whether the canary was.
LABELLED: Final = {
    (True, True): Labelled.BOTH,
    (True, False): Labelled.ONLY_STABLE,
    (False, True): Labelled.ONLY_CANARY,
    (False, False): Labelled.NEITHER,
}


class Copy(NamedTuple):
    """A request on its way to the canary. `labels`: what stable answered, None when it did not."""

    plan: Plan
    request_id: str
    key_id: str | None
    instances: Sequence[Instance]
    labels: Sequence[str] | None


def question(copy: Copy, with_ticket: str) -> bytes:
    """The copy as HTTP. The flowers are written out anew: in which form they came in is no affair of the model's."""
    body = _encode({"instances": copy.instances})
    lines = (
        f"POST {SHADOW_PATH} HTTP/1.1",
        f"host: {copy.plan.host}:{copy.plan.port}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: {copy.request_id}",
        f"{ticket.HEADER.decode()}: {with_ticket}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def understood(reply: Reply, flowers: int) -> tuple[Sent, Sequence[str] | None]:
    """What became of a copy that was answered so, and the labels, when there are any."""
    if reply.status in _REFUSED:
        return Sent.REFUSED, None
    if reply.status != _OK:
        return Sent.FAILED, None
    try:
        labels = [prediction.label for prediction in _decode(reply.body).predictions]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Sent.FAILED, None
    return (Sent.ANSWERED, labels) if len(labels) == flowers else (Sent.FAILED, None)


def pair(stable: Sequence[str] | None, canary: Sequence[str] | None) -> Pair:
    """How the two answers compare; None: there is none. All flowers of a request have to be the same."""
    if stable is None:
        return Pair.NEITHER if canary is None else Pair.ONLY_CANARY
    if canary is None:
        return Pair.ONLY_STABLE
    return Pair.SAME if list(stable) == list(canary) else Pair.DIFFERENT


class _Prediction(msgspec.Struct):
    label: str


class _Answer(msgspec.Struct):
    """What matters of an answer to a prediction."""

    predictions: list[_Prediction]


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Answer).decode
