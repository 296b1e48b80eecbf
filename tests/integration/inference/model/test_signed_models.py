"""A service with trusted keys starts only with models that they signed.

Seen to fail when the keys are not passed to `read_manifest`.
"""

import json
import shutil
from pathlib import Path

import pytest

from iris_training import signing
from support.inference.api import FLOWER
from support.inference.models import Exported
from support.inference.process import StartService
from support.servers.process import ServerError


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported("1.0.0"), tmp_path / "model"))


def sign_with_new_key(folder: Path, name: str) -> str:
    """Sign the manifest with a new key and return the public key."""
    file = folder.parent / f"{name}.pem"
    public_key = signing.create_key(file)
    signing.sign(folder, signing.read_key(file))
    return public_key


def test_a_model_signed_by_a_trusted_key_is_served(start_service: StartService, folder: Path) -> None:
    trusted = sign_with_new_key(folder, "ours")
    service = start_service(folder, IRIS_MODEL_PUBLIC_KEYS=trusted)
    assert service.predict(FLOWER).json()["predictions"][0]["label"] == "setosa"


@pytest.mark.parametrize("fault", ["missing", "of another key", "manifest changed"])
def test_any_other_model_stops_the_start_with_the_file_and_the_remedy(
    start_service: StartService, folder: Path, fault: str
) -> None:
    trusted = sign_with_new_key(folder, "ours")
    manifest, signature = folder / "manifest.json", folder / "manifest.sig"
    if fault == "missing":
        signature.unlink()
    elif fault == "of another key":
        sign_with_new_key(folder, "theirs")
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": "9.9.9"}))
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(folder, IRIS_MODEL_PUBLIC_KEYS=trusted)
    assert str(signature) in str(refusal.value)
    assert "IRIS_MODEL_PUBLIC_KEYS" in str(refusal.value)
    assert "python -m iris_training sign" in str(refusal.value)
    # Neither its name nor its version was read.
    assert "9.9.9" not in str(refusal.value)


def test_a_signed_manifest_is_valid_for_its_own_model_only(
    exported: Exported, start_service: StartService, folder: Path
) -> None:
    trusted = sign_with_new_key(folder, "ours")
    shutil.copy(exported("2.0.0") / "model.onnx", folder / "model.onnx")
    with pytest.raises(ServerError, match=r"(?s)exited with 1.*expected sha256"):
        start_service(folder, IRIS_MODEL_PUBLIC_KEYS=trusted)


def test_without_trusted_keys_no_signature_is_required(start_service: StartService, folder: Path) -> None:
    assert start_service(folder).predict(FLOWER).status_code == 200


@pytest.mark.parametrize("keys", ["", "MCowBQYDK2VwAyEA"], ids=["empty", "cut short"])
def test_invalid_keys_stop_the_start_instead_of_disabling_the_check(
    start_service: StartService, folder: Path, keys: str
) -> None:
    with pytest.raises(ServerError, match=r"exited with 2") as refusal:
        start_service(folder, IRIS_MODEL_PUBLIC_KEYS=keys)
    assert "IRIS_MODEL_PUBLIC_KEYS" in str(refusal.value)
