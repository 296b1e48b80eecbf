"""A model file that differs from the exported one: the process never becomes ready, and logs the reason.

Seen to fail with a `read_artifact` that does not compare the digests.
"""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

from support.inference.api import FLOWER
from support.inference.models import Exported
from support.inference.process import StartService
from support.servers.process import ServerError


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    """A copy of the model 1.0.0 that a test may damage."""
    return Path(shutil.copytree(exported("1.0.0"), tmp_path / "model"))


@pytest.mark.parametrize("damage", ["truncated", "bit-flipped", "swapped"])
def test_a_damaged_file_never_becomes_ready(
    exported: Exported, start_service: StartService, folder: Path, damage: str
) -> None:
    model = folder / "model.onnx"
    content = bytearray(model.read_bytes())
    if damage == "truncated":
        model.write_bytes(content[:-1])
    elif damage == "bit-flipped":
        # In the weights: the file is still a valid model, with wrong predictions.
        content[content.index(b"coefficients") + 14] ^= 1
        model.write_bytes(content)
    else:
        shutil.copy(exported("2.0.0") / "model.onnx", model)
    expected = json.loads((folder / "manifest.json").read_text())["sha256"]
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(folder)
    assert f"expected sha256 {expected}" in str(refusal.value)
    assert f"found sha256 {hashlib.sha256(model.read_bytes()).hexdigest()}" in str(refusal.value)


def test_replacing_the_file_while_it_is_served_changes_nothing(
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
