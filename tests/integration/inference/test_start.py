import hashlib
import json
from pathlib import Path

import pytest

from support.inference.api import FLOWER
from support.inference.models import Exported
from support.inference.process import StartService
from support.servers.process import ServerError


def test_a_truncated_model_stops_the_start_naming_both_digests(exported: Exported, start_service: StartService) -> None:
    folder = exported("5.0.0")
    promised = json.loads((folder / "manifest.json").read_text())["sha256"]
    found = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(folder)
    assert f"expected sha256 {promised}" in str(refusal.value)
    assert f"found sha256 {found}" in str(refusal.value)
    assert "build the image of version 5.0.0 again" in str(refusal.value)


def test_nothing_is_written_to_the_home_directory_or_sent_elsewhere(
    exported: Exported, start_service: StartService
) -> None:
    service = start_service(exported("1.0.0"))
    assert service.predict(FLOWER).status_code == 200
    # ONNX Runtime keeps an identity of the machine there when it reports to its makers.
    assert list(service.home.rglob("*")) == []
    assert all("telemetry" not in str(line) for line in service.log())


def test_a_missing_model_is_reported_with_its_environment_variable(start_service: StartService, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="exited with 1") as refusal:
        start_service(tmp_path / "nothing")
    assert "manifest.json" in str(refusal.value)
    assert "IRIS_MODEL_DIR" in str(refusal.value)


def test_an_invalid_variable_stops_the_start_with_its_name(exported: Exported, start_service: StartService) -> None:
    with pytest.raises(ServerError, match="exited with 2") as refusal:
        start_service(exported("1.0.0"), IRIS_DRAIN_SECONDS="soon", DATABASE_URL="mysql://u:hunter2@h/d")
    assert "IRIS_DRAIN_SECONDS" in str(refusal.value)
    assert "DATABASE_URL" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
