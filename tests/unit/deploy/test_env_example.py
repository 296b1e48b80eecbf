"""`.env.example` is what the settings say, and nothing else."""

import inspect
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from iris_inference.settings import Settings, read_settings
from iris_operator import settings as operator

ROOT = Path(__file__).parents[3]
LINE = re.compile(r"(#?)([A-Z][A-Z_]+)=(.*)")


def parts() -> tuple[list[str], list[str]]:
    """The lines about the service and those about the operator."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    (border,) = [place for place, line in enumerate(lines) if line.startswith("## The operator")]
    return lines[:border], lines[border:]


def assignments(lines: list[str]) -> dict[str, tuple[str, str, str]]:
    """Each variable's mark for `has no default`, its value, and the comment in front of it."""
    found: dict[str, tuple[str, str, str]] = {}
    for before, line in itertools.pairwise(lines):
        if match := LINE.fullmatch(line):
            assert match[2] not in found, f"{match[2]} is there twice"
            found[match[2]] = (match[1], match[3], before.removeprefix("# "))
    return found


def written(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(written, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_it_has_every_variable_of_the_service_with_its_default_and_its_meaning() -> None:
    expected = {
        str(field.validation_alias or f"IRIS_{name.upper()}"): (
            ("#", None, field.description) if field.default is None else ("", written(field.default), field.description)
        )
        for name, field in Settings.model_fields.items()
    }
    service, _ = parts()
    found = {
        name: (mark, None if mark else value, meaning) for name, (mark, value, meaning) in assignments(service).items()
    }
    assert found == expected


def test_it_has_every_variable_of_the_operator_with_its_default() -> None:
    _, lines = parts()
    found = {name: value for name, (_, value, _) in assignments(lines).items()}
    assert found.keys() == set(re.findall(r'"(IRIS_[A-Z_]+)"', inspect.getsource(operator)))
    required = {name: found[name] for name in ("IRIS_NAMESPACES", "IRIS_PROMETHEUS_URL")}
    assert operator.from_environment(found) == operator.from_environment(required)


def test_the_example_is_a_working_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    service, _ = parts()
    for name, (_, value, _) in assignments(service).items():
        monkeypatch.setenv(name, value)
    assert read_settings(Settings).auth == "required"


def test_a_secret_in_it_is_a_placeholder() -> None:
    service, _ = parts()
    examples = assignments(service)
    for name, field in Settings.model_fields.items():
        if "Secret" in str(field.annotation):
            variable = str(field.validation_alias or f"IRIS_{name.upper()}")
            assert "CHANGE-ME" in examples[variable][1]
