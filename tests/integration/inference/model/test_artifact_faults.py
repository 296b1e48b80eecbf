"""A model file that is not what was exported: the process never says that it is ready, and its log says why.

Seen to fail with the comparison of the digests taken out of `read_artifact`.
"""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

from contract.inference.api import FLOWER
from contract.inference.models import Exported
from integration.harness.process import ServerError
from integration.inference.process import StartService


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    """A copy of the model 1.0.0 that a test may damage."""
    return Path(shutil.copytree(exported("1.0.0"), tmp_path / "model"))


@pytest.mark.parametrize("damage", ["truncated", "bit-flipped", "swapped"])
def test_a_damaged_file_never_becomes_ready(
    exported: Exported, start_service: StartService, folder: Path, damage: str
) -> None:
    model = folder / "model.onnx"
    whole = bytearray(model.read_bytes())
    if damage == "truncated":
        model.write_bytes(whole[:-1])
    elif damage == "bit-flipped":
        # In the weights: the file is a sound model all the same, and only its answers are wrong.
        whole[whole.index(b"coefficients") + 14] ^= 1
        model.write_bytes(whole)
    else:
        shutil.copy(exported("2.0.0") / "model.onnx", model)
    promised = json.loads((folder / "manifest.json").read_text())["sha256"]
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(folder)
    assert f"expected sha256 {promised}" in str(refusal.value)
    assert f"found sha256 {hashlib.sha256(model.read_bytes()).hexdigest()}" in str(refusal.value)


def test_a_file_that_is_swapped_while_it_is_served_changes_nothing(
    exported: Exported, start_service: StartService, folder: Path
) -> None:
    service = start_service(folder)
    before = service.predict(FLOWER).json()["predictions"]
    shutil.copy(exported("2.0.0") / "model.onnx", folder / "model.onnx")
    assert service.predict(FLOWER).json()["predictions"] == before
    assert service.predict([6.3, 3.3, 6.0, 2.5]).status_code == 200


class _Payload:
    """Leaves a trace when somebody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self._trace), 0o700)


def test_a_pickle_with_a_matching_digest_is_never_opened(
    start_service: StartService, folder: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    content = pickle.dumps(_Payload(trace))
    (folder / "model.onnx").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ServerError, match=r"is no ONNX model.*not opened"):
        start_service(folder)
    assert not trace.exists()
