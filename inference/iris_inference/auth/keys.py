"""API keys: their format, their generation and their verification against the stored digest.

A key is `iris_<key id>_<secret>`. The id is not secret: it names the key in lists, in logs and when it is revoked. Only
a salted SHA-256 of the secret is stored. A slow password hash would add no protection: it makes guessing expensive, and
256 random bits cannot be guessed at any speed. It would only cost each pod 100 ms per key.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

KEY_ID_PATTERN: Final = "[0-9a-f]{12}"
_KEY: Final = re.compile(rf"iris_({KEY_ID_PATTERN})_([0-9a-f]{{64}})")
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A complete key. `secret` is 256 random bits in hexadecimal."""

    key_id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The key as it is shown once and as requests send it."""
        return f"iris_{self.key_id}_{self.secret}"


def generate() -> ApiKey:
    """Generate a new key."""
    return ApiKey(secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES))


def new_salt() -> bytes:
    """A new random salt."""
    return secrets.token_bytes(_SALT_BYTES)


def parse(text: str) -> ApiKey | None:
    """Parse a key; None when `text` does not have the format of one."""
    match = _KEY.fullmatch(text)
    return ApiKey(match[1], match[2]) if match else None


def digest(salt: bytes, secret: str) -> bytes:
    """The digest of a secret that the database stores."""
    return hashlib.sha256(salt + secret.encode()).digest()


def verify(secret: str, salt: bytes, stored_digest: bytes) -> bool:
    """Whether `stored_digest` is the digest of this secret, compared in constant time."""
    return hmac.compare_digest(digest(salt, secret), stored_digest)
