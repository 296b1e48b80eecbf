"""Signs a manifest with Ed25519 (RFC 8032), and makes the keys for it.

`manifest.sig` is the bare signature of the manifest's exact bytes, so `openssl pkeyutl` can make and check it too.
"""

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from iris_training.export import MANIFEST_FILE

SIGNATURE_FILE: Final = "manifest.sig"


class SigningError(Exception):
    """Nothing was signed. The message says what is wrong, where, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed, and the public key that whoever serves it must trust: the line between a PEM file's markers."""

    manifest_sha256: str
    public_key: str


def create_key(path: Path) -> str:
    """Write a new private key, readable by its owner only, and return its public key. Raises SigningError."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # Never over a file that is there: it may be the only copy of a key.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(pem)
    except OSError as error:
        raise SigningError(f"cannot write the key {path}: {error.strerror}. Nothing was changed.") from None
    return _public(key)


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key. Raises SigningError when it is missing or of another kind."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SigningError(f"cannot read the key {path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(
            f"{path} is no Ed25519 private key in PEM without a password; `python -m iris_training keygen` makes one"
        )
    return key


def sign(folder: Path, key: Ed25519PrivateKey) -> Signed:
    """Write `manifest.sig` beside the manifest in `folder`. Raises SigningError when there is none."""
    path = folder / MANIFEST_FILE
    try:
        manifest = path.read_bytes()
        (folder / SIGNATURE_FILE).write_bytes(key.sign(manifest))
    except OSError as error:
        raise SigningError(f"cannot sign {path}: {error.filename}: {error.strerror}. Export a model first.") from None
    return Signed(hashlib.sha256(manifest).hexdigest(), _public(key))


def _public(key: Ed25519PrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
