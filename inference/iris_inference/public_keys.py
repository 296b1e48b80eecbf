"""Ed25519 public keys (RFC 8032), as the settings give them.

A public key is written as the one line between the markers of its PEM file, as `openssl pkey -pubout` prints it.
"""

import base64
import binascii
from typing import Final, NewType

PublicKey = NewType("PublicKey", str)

# The prefix of every Ed25519 key in that form (RFC 8410); the 32 bytes of the key itself follow.
_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
_KEY_BYTES: Final = 32


def parse(text: str) -> tuple[PublicKey, ...]:
    """The keys in `text`, separated by commas. Raises ValueError when there is none, or one of them is no key."""
    keys = tuple(PublicKey(part.strip()) for part in text.split(","))
    for key in keys:
        raw(key)
    return keys


def raw(key: PublicKey) -> bytes:
    """The 32 bytes of a key. Raises ValueError when it is none."""
    try:
        encoded = base64.b64decode(key, validate=True)
    except binascii.Error:
        encoded = b""
    if not encoded.startswith(_ED25519) or len(encoded) != len(_ED25519) + _KEY_BYTES:
        # The value is not repeated: it may be a private key by mistake.
        raise ValueError(
            "no Ed25519 public key; it is the line between the markers of what "
            "`python -m iris_training keygen` or `openssl pkey -pubout` prints, and begins with MCowBQYDK2VwAyEA"
        )
    return encoded.removeprefix(_ED25519)
