"""A service that is told whom to trust starts with what they signed, and with nothing else.

Seen to fail with the keys not handed on to `read_manifest`.
"""

import json
import shutil
from pathlib import Path

import pytest

from contract.inference.api import FLOWER
from contract.inference.models import Exported
from integration.harness.process import ServerError
from integration.inference.process import StartService
from iris_training import signing


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported("1.0.0"), tmp_path / "model"))


def signed_with_a_new_key(folder: Path, name: str) -> str:
    """The public key."""
    file = folder.parent / f"{name}.pem"
    public_key = signing.create_key(file)
    signing.sign(folder, signing.read_key(file))
    return public_key


def test_a_model_that_a_trusted_key_signed_is_served(start_service: StartService, folder: Path) -> None:
    trusted = signed_with_a_new_key(folder, "ours")
    service = start_service(folder, IRIS_MODEL_PUBLIC_KEYS=trusted)
    assert service.predict(FLOWER).json()["predictions"][0]["label"] == "setosa"


@pytest.mark.parametrize("fault", ["missing", "of another key", "manifest changed"])
def test_any_other_model_stops_the_start_with_the_file_and_the_remedy(
    start_service: StartService, folder: Path, fault: str
) -> None:
    trusted = signed_with_a_new_key(folder, "ours")
    manifest, signature = folder / "manifest.json", folder / "manifest.sig"
    if fault == "missing":
        signature.unlink()
    elif fault == "of another key":
        signed_with_a_new_key(folder, "theirs")
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": "9.9.9"}))
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(folder, IRIS_MODEL_PUBLIC_KEYS=trusted)
    assert str(signature) in str(refusal.value)
    assert "IRIS_MODEL_PUBLIC_KEYS" in str(refusal.value)
    assert "python -m iris_training sign" in str(refusal.value)
    # Nothing of it: neither its name nor its version was read.
    assert "9.9.9" not in str(refusal.value)


def test_a_signed_manifest_vouches_for_its_own_model_only(
    exported: Exported, start_service: StartService, folder: Path
) -> None:
    trusted = signed_with_a_new_key(folder, "ours")
    shutil.copy(exported("2.0.0") / "model.onnx", folder / "model.onnx")
    with pytest.raises(ServerError, match=r"(?s)exited with 1.*expected sha256"):
        start_service(folder, IRIS_MODEL_PUBLIC_KEYS=trusted)


def test_a_service_that_trusts_nobody_in_particular_asks_for_no_signature(
    start_service: StartService, folder: Path
) -> None:
    assert start_service(folder).predict(FLOWER).status_code == 200


@pytest.mark.parametrize("keys", ["", "MCowBQYDK2VwAyEA"], ids=["empty", "cut short"])
def test_keys_that_are_none_stop_the_start_instead_of_switching_the_check_off(
    start_service: StartService, folder: Path, keys: str
) -> None:
    with pytest.raises(ServerError, match=r"exited with 2") as refusal:
        start_service(folder, IRIS_MODEL_PUBLIC_KEYS=keys)
    assert "IRIS_MODEL_PUBLIC_KEYS" in str(refusal.value)
