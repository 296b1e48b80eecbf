"""With trusted keys, a manifest is read only with a valid signature of its exact bytes.

Seen to fail with a `read_manifest` that does not verify the signature, and with one that does not compare keys.
"""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from iris_inference import public_keys
from iris_inference.model.artifact import ArtifactError, read_manifest
from iris_inference.model.signature import is_signed_by_any
from iris_inference.public_keys import PublicKey
from iris_training import signing

# The first and second of RFC 8032's test vectors, section 7.1.
RFC_KEY = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RFC_SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
OTHER_RFC_KEY = "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="


class Signer(NamedTuple):
    file: Path
    trusted: tuple[PublicKey, ...]

    def sign(self, folder: Path) -> None:
        signing.sign(folder, signing.read_key(self.file))


def signer(file: Path) -> Signer:
    return Signer(file, public_keys.parse(signing.create_key(file)))


@pytest.fixture
def ours(tmp_path: Path) -> Signer:
    return signer(tmp_path / "ours.pem")


@pytest.fixture
def folder(tmp_path: Path, ours: Signer) -> Path:
    """A signed manifest."""
    folder = tmp_path / "model"
    folder.mkdir()
    manifest = {
        "name": "iris",
        "version": "1.0.0",
        "features": ["petal_length"],
        "classes": ["setosa", "virginica"],
        "sha256": "0" * 64,
        "size_bytes": 1,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    ours.sign(folder)
    return folder


def test_signatures_match_the_test_vectors_of_rfc_8032() -> None:
    assert is_signed_by_any(public_keys.parse(RFC_KEY), b"", RFC_SIGNATURE)
    assert not is_signed_by_any(public_keys.parse(RFC_KEY), b"r", RFC_SIGNATURE)
    assert not is_signed_by_any(public_keys.parse(OTHER_RFC_KEY), b"", RFC_SIGNATURE)


def test_one_of_several_keys_is_enough(folder: Path, ours: Signer, tmp_path: Path) -> None:
    new = signer(tmp_path / "new.pem")
    assert read_manifest(folder, new.trusted + ours.trusted).version == "1.0.0"
    new.sign(folder)
    assert read_manifest(folder, new.trusted + ours.trusted).version == "1.0.0"


def test_without_trusted_keys_the_signature_is_ignored(folder: Path) -> None:
    (folder / "manifest.sig").write_bytes(b"no signature")
    assert read_manifest(folder).version == "1.0.0"


def test_an_unsigned_model_is_rejected(folder: Path, ours: Signer) -> None:
    (folder / "manifest.sig").unlink()
    with pytest.raises(
        ArtifactError, match=r"manifest\.sig is missing: .* IRIS_MODEL_PUBLIC_KEYS .*iris_training sign"
    ):
        read_manifest(folder, ours.trusted)


def test_a_signature_of_another_key_is_rejected_with_the_trusted_keys_named(
    folder: Path, ours: Signer, tmp_path: Path
) -> None:
    signer(tmp_path / "theirs.pem").sign(folder)
    with pytest.raises(ArtifactError, match=r"manifest\.sig is no signature of .*another key signed it") as refusal:
        read_manifest(folder, ours.trusted)
    assert ours.trusted[0] in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.replace(b"1.0.0", b"1.0.1"),
        lambda manifest: manifest.replace(b'"sha256": "0', b'"sha256": "1'),
        # Equal JSON, other bytes.
        lambda manifest: manifest + b"\n",
        lambda _: b"[" * 100_000,
    ],
    ids=["version", "digest", "white space", "what would be hard to parse"],
)
def test_a_manifest_changed_after_signing_is_rejected_unparsed(folder: Path, ours: Signer, change: object) -> None:
    assert callable(change)
    path = folder / "manifest.json"
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    with pytest.raises(ArtifactError, match=r"changed after it was signed.*Nothing of it was parsed"):
        read_manifest(folder, ours.trusted)


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65, b"LS0tLS1CRUdJTg=="])
def test_an_invalid_signature_is_rejected_with_its_length(folder: Path, ours: Signer, content: bytes) -> None:
    (folder / "manifest.sig").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"it has {len(content)} bytes instead of 64"):
        read_manifest(folder, ours.trusted)


def test_an_endless_signature_is_read_only_up_to_a_limit(folder: Path, ours: Signer) -> None:
    (folder / "manifest.sig").unlink()
    (folder / "manifest.sig").symlink_to("/dev/zero")
    with pytest.raises(ArtifactError, match="larger than"):
        read_manifest(folder, ours.trusted)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        f"{RFC_KEY},",
        RFC_KEY[:-8] + "=",
        RFC_KEY + RFC_KEY,
        "no base64",
        # An X25519 key, which has the same length.
        RFC_KEY.replace("VwAyEA", "VuAyEA"),
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_an_invalid_key_is_rejected_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="no Ed25519 public key") as refusal:
        public_keys.parse(text)
    assert not text.strip() or text not in str(refusal.value)


def test_keys_may_have_spaces_around_them() -> None:
    assert public_keys.parse(f" {RFC_KEY} , {OTHER_RFC_KEY}\n") == (RFC_KEY, OTHER_RFC_KEY)
