"""Verifies Ed25519 signatures (RFC 8032) of the manifest's exact bytes."""

from collections.abc import Sequence
from typing import Final

from iris_inference import public_keys
from iris_inference.public_keys import PublicKey

SIGNATURE_BYTES: Final = 64


def is_signed_by_any(keys: Sequence[PublicKey], content: bytes, signature: bytes) -> bool:
    """Whether `signature` is a valid signature of `content` by one of `keys`."""
    # Costs ten megabytes and a few hundredths of a second, which a service without signatures does not pay.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - see above

    for key in keys:
        try:
            Ed25519PublicKey.from_public_bytes(public_keys.raw(key)).verify(signature, content)
        except InvalidSignature:
            continue
        return True
    return False
