"""The shadow token: proof that a pod of this service mirrors a request, for a user whose key was accepted there.

The user's key is not passed on. Both pods know its salted digest from the database; the token is an HMAC with that
digest, for one revision, one request and a minute. So a token is good for mirrored requests only, and only as long as
the user's key is valid. Anyone who can read the digests from the database could create tokens, which is why a token
leads to nothing but a prediction that is marked as mirrored.
"""

import hashlib
import hmac
import re
from typing import Final, NamedTuple

from iris_inference.auth.keys import KEY_ID_PATTERN

HEADER: Final = b"x-shadow-ticket"
# Clocks of two machines differ by less, and a request waits no longer once it is signed.
VALID_SECONDS: Final = 60
# Without a key the sender requires none; the receiver decides whether it does so, too.
_TOKEN: Final = re.compile(
    rf"(?P<revision>[A-Za-z0-9._-]{{1,63}});(?P<at>[0-9]{{1,12}})(;(?P<key>{KEY_ID_PATTERN});(?P<mac>[0-9a-f]{{64}}))?"
)


class ShadowToken(NamedTuple):
    """A received token. `key_id` and `mac` are both set, or neither is. `issued_at`: seconds since 1970."""

    revision: str
    issued_at: int
    key_id: str | None
    mac: str | None


def parse(value: bytes) -> ShadowToken | None:
    """The token in a header; None when it is malformed."""
    match = _TOKEN.fullmatch(value.decode("latin-1"))
    return ShadowToken(match["revision"], int(match["at"]), match["key"], match["mac"]) if match else None


def unsigned(revision: str, issued_at: int) -> str:
    """A token of a service that requires no keys."""
    return f"{revision};{issued_at}"


def signed(revision: str, issued_at: int, key_id: str, digest: bytes, request_id: str) -> str:
    """A token for one request of the user whose key has this digest."""
    return f"{revision};{issued_at};{key_id};{_mac(revision, issued_at, digest, request_id)}"


def verify(token: ShadowToken, digest: bytes, request_id: str) -> bool:
    """Whether the token was signed with this digest and for this request. Takes constant time."""
    return hmac.compare_digest(token.mac or "", _mac(token.revision, token.issued_at, digest, request_id))


def _mac(revision: str, issued_at: int, digest: bytes, request_id: str) -> str:
    # No part contains a line feed, so that different parts never give the same message.
    return hmac.new(digest, f"iris-shadow\n{revision}\n{issued_at}\n{request_id}".encode(), hashlib.sha256).hexdigest()
