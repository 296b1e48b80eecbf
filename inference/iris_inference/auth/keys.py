"""API keys: how one looks, is made, and is held against what the database keeps of it.

A key is `iris_<key id>_<secret>`. The id is no secret: it names the key in lists, in logs and when it is revoked. Of
the secret only a salted SHA-256 is kept. A slow hash as for passwords would protect nothing here: it makes guessing
expensive, and 256 random bits cannot be guessed at any speed. It would only hold up each pod by 100 ms for every key.
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
    """One key as its owner has it. `secret` is 256 random bits in hexadecimal."""

    key_id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The key as it is shown once and sent with each request."""
        return f"iris_{self.key_id}_{self.secret}"


def generate() -> ApiKey:
    """A new key."""
    return ApiKey(secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES))


def new_salt() -> bytes:
    """What makes equal secrets, should there ever be two, look different in the database."""
    return secrets.token_bytes(_SALT_BYTES)


def parse(text: str) -> ApiKey | None:
    """The key in `text`, None when it is none by its form alone."""
    found = _KEY.fullmatch(text)
    return ApiKey(found[1], found[2]) if found else None


def digest(salt: bytes, secret: str) -> bytes:
    """What the database keeps of a secret."""
    return hashlib.sha256(salt + secret.encode()).digest()


def belongs(secret: str, salt: bytes, kept: bytes) -> bool:
    """Whether `kept` is the digest of this secret. Takes as long whatever the answer is."""
    return hmac.compare_digest(digest(salt, secret), kept)
