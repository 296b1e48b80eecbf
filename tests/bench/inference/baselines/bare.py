"""The minimal ASGI application: reads the body, and sends a response of the size of a prediction."""

from typing import Any, Final

ANSWER: Final = (
    b'{"request_id":"00000000000000000000000000000000","model":{"name":"iris","version":"1.0.0","revision":"local"},'
    b'"predictions":[{"label":"setosa","class":0,"probabilities":{"setosa":0.9815572500228882,'
    b'"versicolor":0.018442779779434204,"virginica":1.4480923362043086e-08}}]}'
)
_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())],
}
_BODY: Final = {"type": "http.response.body", "body": ANSWER}


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send(_BODY)
