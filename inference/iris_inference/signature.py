"""Who vouches for a model: Ed25519 signatures (RFC 8032) of the manifest's exact bytes.

A public key is written as the one line between the markers of its PEM file, as `openssl pkey -pubout` prints it.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final, NewType

PublicKey = NewType("PublicKey", str)

SIGNATURE_BYTES: Final = 64
# What every Ed25519 key begins with in that form (RFC 8410); the 32 bytes of the key itself follow.
_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
_KEY_BYTES: Final = 32


def public_keys(text: str) -> tuple[PublicKey, ...]:
    """The keys in `text`, separated by commas. Raises ValueError when there is none, or one of them is no key."""
    keys = tuple(PublicKey(part.strip()) for part in text.split(","))
    for key in keys:
        _raw(key)
    return keys


def signed_by_one_of(keys: Sequence[PublicKey], content: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of one of `keys` under exactly these bytes."""
    # Ten megabytes and a few hundredths of a second, which a service that asks for no signature does not pay.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - see above

    for key in keys:
        try:
            Ed25519PublicKey.from_public_bytes(_raw(key)).verify(signature, content)
        except InvalidSignature:
            continue
        return True
    return False


def _raw(key: PublicKey) -> bytes:
    try:
        encoded = base64.b64decode(key, validate=True)
    except binascii.Error:
        encoded = b""
    if not encoded.startswith(_ED25519) or len(encoded) != len(_ED25519) + _KEY_BYTES:
        # Not repeated: somebody may have put the private key here.
        raise ValueError(
            "no Ed25519 public key; it is the line between the markers of what "
            "`python -m iris_training keygen` or `openssl pkey -pubout` prints, and begins with MCowBQYDK2VwAyEA"
        )
    return encoded.removeprefix(_ED25519)
