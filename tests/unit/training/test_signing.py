"""The commands `keygen` and `sign`; test_signature.py has the verification by the prediction service."""

import subprocess
from pathlib import Path

import pytest

from iris_inference import public_keys
from iris_inference.model.artifact import read_manifest
from iris_training import cli
from support.inference.models import Exported


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """A private key's file and the public key, as the command prints it."""
    assert cli.main(["keygen", "--out", str(tmp_path / "key.pem")]) == 0
    name, _, public_key = capsys.readouterr().out.strip().partition("=")
    assert name == "IRIS_MODEL_PUBLIC_KEYS"
    return tmp_path / "key.pem", public_key


def test_a_private_key_is_readable_by_its_owner_only_and_never_overwritten(
    key: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen to fail without `O_EXCL`."""
    file, _ = key
    before = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    assert cli.main(["keygen", "--out", str(file)]) == 1
    assert "File exists" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_an_export_is_signed_as_it_is_written(tmp_path: Path, key: tuple[Path, str]) -> None:
    file, public_key = key
    out = tmp_path / "model"
    assert cli.main(["export", "--recipe", "1.0.0", "--out", str(out), "--key", str(file)]) == 0
    assert read_manifest(out, public_keys.parse(public_key)).version == "1.0.0"
    # An export into the same folder without a key must not keep the signature of the earlier one.
    assert cli.main(["export", "--recipe", "2.0.0", "--out", str(out)]) == 0
    assert not (out / "manifest.sig").exists()


def test_openssl_signs_and_checks_the_same(exported: Exported, tmp_path: Path, key: tuple[Path, str]) -> None:
    file, public_key = key
    model = tmp_path / "model"
    model.mkdir()
    manifest, signature = model / "manifest.json", model / "manifest.sig"
    manifest.write_bytes((exported("1.0.0") / "manifest.json").read_bytes())
    assert cli.main(["sign", "--model", str(model), "--key", str(file)]) == 0
    pem = tmp_path / "public.pem"
    openssl("pkey", "-in", file, "-pubout", "-out", pem)
    assert pem.read_text().splitlines()[1] == public_key
    checked = openssl("pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-in", manifest, "-sigfile", signature)
    assert checked == "Signature Verified Successfully\n"
    ours = signature.read_bytes()
    openssl("pkeyutl", "-sign", "-inkey", file, "-rawin", "-in", manifest, "-out", signature)
    assert signature.read_bytes() == ours


def test_a_key_of_another_type_signs_nothing(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rsa, nothing, text = tmp_path / "rsa.pem", tmp_path / "nothing.pem", tmp_path / "text.pem"
    openssl("genrsa", "-out", rsa, "2048")
    text.write_text("no key")
    for file, reason in ((rsa, "no Ed25519 private key"), (text, "no Ed25519 private key"), (nothing, "cannot read")):
        assert cli.main(["sign", "--model", str(exported("1.0.0")), "--key", str(file)]) == 1
        assert reason in capsys.readouterr().err
    assert not (exported("1.0.0") / "manifest.sig").exists()


def test_without_an_export_there_is_nothing_to_sign(
    tmp_path: Path, key: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sign", "--model", str(tmp_path), "--key", str(key[0])]) == 1
    assert f"cannot sign {tmp_path / 'manifest.json'}" in capsys.readouterr().err
