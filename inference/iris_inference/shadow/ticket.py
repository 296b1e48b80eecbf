"""What lets a copy in: proof that a pod of this service sends it, for a user whose key was found good there.

The user's key stays where it came in. Both pods know the salted digest that the database keeps of it; the ticket is
signed with that, for one revision, one request and a minute. So a ticket opens nothing but the door for copies, and
only as long as the user's key is good. Whoever can read the digests from the database could make tickets, which is why
nothing but a prediction that is marked as a copy comes of one.
"""

import hashlib
import hmac
import re
from typing import Final, NamedTuple

from iris_inference.auth.keys import KEY_ID_PATTERN

HEADER: Final = b"x-shadow-ticket"
# Clocks of two machines differ by less, and a copy waits no longer once it is signed.
GOOD_SECONDS: Final = 60
# Without a key the sender asks nobody for one; the other side decides whether it does so, too.
_TICKET: Final = re.compile(
    rf"(?P<revision>[A-Za-z0-9._-]{{1,63}});(?P<at>[0-9]{{1,12}})(;(?P<key>{KEY_ID_PATTERN});(?P<mac>[0-9a-f]{{64}}))?"
)


class Ticket(NamedTuple):
    """A ticket as it was received. `key_id` and `mac` are both there, or neither is. `at`: seconds since 1970."""

    revision: str
    at: int
    key_id: str | None
    mac: str | None


def parse(value: bytes) -> Ticket | None:
    """The ticket in a header; None when it is none by its form alone."""
    found = _TICKET.fullmatch(value.decode("latin-1"))
    return Ticket(found["revision"], int(found["at"]), found["key"], found["mac"]) if found else None


def unsigned(revision: str, at: int) -> str:
    """A ticket of a service that asks for no keys."""
    return f"{revision};{at}"


def signed(revision: str, at: int, key_id: str, digest: bytes, request_id: str) -> str:
    """A ticket for one request of the user whose key's kept digest this is."""
    return f"{revision};{at};{key_id};{_mac(revision, at, digest, request_id)}"


def belongs(ticket: Ticket, digest: bytes, request_id: str) -> bool:
    """Whether the ticket was signed with this digest and for this request. Takes as long whatever the answer is."""
    return hmac.compare_digest(ticket.mac or "", _mac(ticket.revision, ticket.at, digest, request_id))


def _mac(revision: str, at: int, digest: bytes, request_id: str) -> str:
    # No part holds a line's end, so that no two sets of parts are one message.
    return hmac.new(digest, f"iris-shadow\n{revision}\n{at}\n{request_id}".encode(), hashlib.sha256).hexdigest()
