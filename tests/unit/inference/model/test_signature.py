"""A manifest that somebody must vouch for: read only with the signature of a trusted key over its exact bytes.

Seen to fail with the check of the signature taken out of `read_manifest`, and with one that compares no keys.
"""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from iris_inference.artifact import ArtifactError, read_manifest
from iris_inference.signature import PublicKey, public_keys, signed_by_one_of
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
    return Signer(file, public_keys(signing.create_key(file)))


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


def test_signatures_are_those_of_the_standard() -> None:
    assert signed_by_one_of(public_keys(RFC_KEY), b"", RFC_SIGNATURE)
    assert not signed_by_one_of(public_keys(RFC_KEY), b"r", RFC_SIGNATURE)
    assert not signed_by_one_of(public_keys(OTHER_RFC_KEY), b"", RFC_SIGNATURE)


def test_one_of_several_keys_is_enough(folder: Path, ours: Signer, tmp_path: Path) -> None:
    new = signer(tmp_path / "new.pem")
    assert read_manifest(folder, new.trusted + ours.trusted).version == "1.0.0"
    new.sign(folder)
    assert read_manifest(folder, new.trusted + ours.trusted).version == "1.0.0"


def test_without_a_key_no_signature_is_looked_at(folder: Path) -> None:
    (folder / "manifest.sig").write_bytes(b"no signature")
    assert read_manifest(folder).version == "1.0.0"


def test_a_model_that_nobody_signed_is_refused(folder: Path, ours: Signer) -> None:
    (folder / "manifest.sig").unlink()
    with pytest.raises(
        ArtifactError, match=r"manifest\.sig is missing: .* IRIS_MODEL_PUBLIC_KEYS .*iris_training sign"
    ):
        read_manifest(folder, ours.trusted)


def test_a_signature_of_another_key_is_refused_with_the_trusted_ones_named(
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
        # The same to every reader of JSON.
        lambda manifest: manifest + b"\n",
        lambda _: b"[" * 100_000,
    ],
    ids=["version", "digest", "white space", "what would be hard to parse"],
)
def test_a_manifest_that_was_changed_after_it_was_signed_is_refused_unparsed(
    folder: Path, ours: Signer, change: object
) -> None:
    assert callable(change)
    path = folder / "manifest.json"
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    with pytest.raises(ArtifactError, match=r"changed after it was signed.*Nothing of it was parsed"):
        read_manifest(folder, ours.trusted)


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65, b"LS0tLS1CRUdJTg=="])
def test_what_is_no_signature_is_named(folder: Path, ours: Signer, content: bytes) -> None:
    (folder / "manifest.sig").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"it has {len(content)} bytes instead of 64"):
        read_manifest(folder, ours.trusted)


def test_a_signature_without_end_is_not_read_to_the_end(folder: Path, ours: Signer) -> None:
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
        # Curve X25519, whose keys are as long.
        RFC_KEY.replace("VwAyEA", "VuAyEA"),
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="no Ed25519 public key") as refusal:
        public_keys(text)
    assert not text.strip() or text not in str(refusal.value)


def test_keys_may_have_spaces_around_them() -> None:
    assert public_keys(f" {RFC_KEY} , {OTHER_RFC_KEY}\n") == (RFC_KEY, OTHER_RFC_KEY)
