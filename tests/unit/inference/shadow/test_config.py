import json
from pathlib import Path
from typing import Any

import pytest

from iris_inference.shadow.config import ShadowConfig, ShadowConfigError, ShadowTarget, parse_config, read_config

GOOD = {"revision": "def456", "url": "http://iris-canary.iris.svc:80", "share": 0.25}
CONTROL = {"revision": "abc123-control-def456", "url": "http://iris-control.iris.svc:80"}


def test_a_config_has_an_address_and_a_share() -> None:
    assert parse_config(json.dumps(GOOD).encode()) == ShadowConfig(
        ShadowTarget("def456", "iris-canary.iris.svc", 80), 0.25
    )


def test_a_config_may_name_a_control_group_that_gets_the_same_requests() -> None:
    config = parse_config(json.dumps({**GOOD, "control": CONTROL}).encode())
    assert config is not None
    assert config.control == ShadowTarget("abc123-control-def456", "iris-control.iris.svc", 80)
    assert config.targets == (config.canary, config.control)


def test_without_a_file_or_with_an_empty_one_there_is_no_config(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert read_config(path) is None
    path.write_text(" \n")
    assert read_config(path) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"share": -0.1},
        {"share": 1.1},
        {"share": "half"},
        {"revision": ""},
        {"revision": "a\r\nb"},
        {"revision": "r" * 64},
        {"url": "https://iris-canary:443"},
        {"url": "http://user@iris-canary"},
        {"url": "http://iris-canary/v1/predict"},
        {"url": "http://iris-canary?x=1"},
        {"url": "http://iris-canary:99999"},
        {"url": "iris-canary"},
        {"more": 1},
        {"control": {**CONTROL, "revision": ""}},
        {"control": {**CONTROL, "url": "http://iris-control/v1/predict"}},
        {"control": {**CONTROL, "share": 0.5}},
        {"control": "abc123"},
    ],
)
def test_invalid_fields_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ShadowConfigError):
        parse_config(json.dumps({**GOOD, **changed}).encode())


def test_the_reason_names_the_field_of_the_control_group() -> None:
    with pytest.raises(ShadowConfigError, match=r"^control\.url: must be http://host:port$"):
        parse_config(json.dumps({**GOOD, "control": {**CONTROL, "url": "iris"}}).encode())


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"{}", b" " * 5_000 + b"1", b"x" * 5_000])
def test_invalid_json_is_refused(content: bytes) -> None:
    with pytest.raises(ShadowConfigError):
        parse_config(content)


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShadowConfigError, match="cannot be read"):
        read_config(tmp_path)
