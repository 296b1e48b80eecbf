"""Generates Ed25519 keys (RFC 8032) and signs manifests with them.

`manifest.sig` is the raw signature of the manifest's exact bytes, so `openssl pkeyutl` can create and verify it too.
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
    """Nothing was signed. The message names the problem, the file and the remedy."""


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """The digest of a signed manifest, and the public key to trust: the line between the markers of a PEM file."""

    manifest_sha256: str
    public_key: str


def create_key(path: Path) -> str:
    """Write a new private key, readable by its owner only, and return its public key. Raises SigningError."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # Never overwrites a file: it may be the only copy of a key.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(pem)
    except OSError as error:
        raise SigningError(f"cannot write the key {path}: {error.strerror}. Nothing was changed.") from None
    return _public_key_text(key)


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key. Raises SigningError when it is missing or of another type."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SigningError(f"cannot read the key {path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(
            f"{path} is no Ed25519 private key in PEM without a password; "
            "create one with `python -m iris_training keygen`"
        )
    return key


def sign(folder: Path, key: Ed25519PrivateKey) -> SignedManifest:
    """Write `manifest.sig` next to the manifest in `folder`. Raises SigningError when there is no manifest."""
    path = folder / MANIFEST_FILE
    try:
        manifest = path.read_bytes()
        (folder / SIGNATURE_FILE).write_bytes(key.sign(manifest))
    except OSError as error:
        raise SigningError(f"cannot sign {path}: {error.filename}: {error.strerror}. Export a model first.") from None
    return SignedManifest(hashlib.sha256(manifest).hexdigest(), _public_key_text(key))


def _public_key_text(key: Ed25519PrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
