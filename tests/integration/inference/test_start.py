import hashlib
import json
from pathlib import Path

import pytest

from contract.inference.api import FLOWER
from contract.inference.models import Exported
from integration.harness.process import ServerError
from integration.inference.process import StartService


def test_a_file_cut_short_stops_the_start_naming_both_digests(exported: Exported, start_service: StartService) -> None:
    folder = exported("5.0.0")
    promised = json.loads((folder / "manifest.json").read_text())["sha256"]
    found = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(folder)
    assert f"expected sha256 {promised}" in str(refusal.value)
    assert f"found sha256 {found}" in str(refusal.value)
    assert "build the image of version 5.0.0 again" in str(refusal.value)


def test_nothing_is_written_at_home_nor_told_to_others(exported: Exported, start_service: StartService) -> None:
    service = start_service(exported("1.0.0"))
    assert service.predict(FLOWER).status_code == 200
    # ONNX Runtime keeps an identity of the machine there when it reports to its makers.
    assert list(service.home.rglob("*")) == []
    assert all("telemetry" not in str(line) for line in service.log())


def test_a_missing_model_is_named_with_the_variable_that_points_to_it(
    start_service: StartService, tmp_path: Path
) -> None:
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(tmp_path / "nothing")
    assert "manifest.json" in str(refusal.value)
    assert "IRIS_MODEL_DIR" in str(refusal.value)


def test_a_wrong_variable_stops_the_start_with_its_name(exported: Exported, start_service: StartService) -> None:
    with pytest.raises(ServerError, match="exited with 2") as refusal:
        start_service(exported("1.0.0"), IRIS_DRAIN_SECONDS="soon", DATABASE_URL="mysql://u:hunter2@h/d")
    assert "IRIS_DRAIN_SECONDS" in str(refusal.value)
    assert "DATABASE_URL" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
