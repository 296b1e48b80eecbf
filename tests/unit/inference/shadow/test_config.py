import json
from pathlib import Path
from typing import Any

import pytest

from iris_inference.shadow.config import ShadowConfig, ShadowConfigError, parse_config, read_config

GOOD = {"revision": "def456", "url": "http://iris-canary.iris.svc:80", "share": 0.25}


def test_a_config_has_an_address_and_a_share() -> None:
    assert parse_config(json.dumps(GOOD).encode()) == ShadowConfig("def456", "iris-canary.iris.svc", 80, 0.25)


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
    ],
)
def test_invalid_fields_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ShadowConfigError):
        parse_config(json.dumps({**GOOD, **changed}).encode())


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"{}", b" " * 5_000 + b"1", b"x" * 5_000])
def test_invalid_json_is_refused(content: bytes) -> None:
    with pytest.raises(ShadowConfigError):
        parse_config(content)


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShadowConfigError, match="cannot be read"):
        read_config(tmp_path)
