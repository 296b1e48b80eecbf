"""`.env.example` names every setting there is, and says what holds without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from iris_inference.settings import PREFIX, Settings
from iris_operator import settings as operator_settings

FILE = Path(__file__).resolve().parents[3] / ".env.example"
LINE = re.compile(r"^(?P<off># )?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$")


class Asked(Mapping[str, str]):
    """An environment that remembers which variables were looked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values, self.names = values, set[str]()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def lines() -> list[re.Match[str]]:
    return [match for line in FILE.read_text().splitlines() if (match := LINE.match(line))]


def of_the_operator() -> set[str]:
    asked = Asked({match["name"]: match["value"] for match in lines()})
    operator_settings.from_environment(asked)
    return asked.names


def of_the_service() -> dict[str, str]:
    """Field by variable."""
    return {
        str(field.validation_alias or f"{PREFIX}{name.upper()}"): name for name, field in Settings.model_fields.items()
    }


def test_it_names_every_setting_and_no_other() -> None:
    names = [match["name"] for match in lines()]
    assert sorted(names) == sorted(of_the_operator() | of_the_service().keys())


def test_a_line_that_is_on_says_what_holds_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fields, defaults = of_the_service(), Settings.model_construct()
    monkeypatch.delenv("REDIS_URL", raising=False)
    for match in lines():
        if match["off"]:
            assert match["name"] not in fields or getattr(defaults, fields[match["name"]]) is None
        else:
            monkeypatch.setenv(match["name"], match["value"])
    stated = Settings().model_dump(exclude={"database_url"})
    assert stated == defaults.model_dump(exclude={"database_url"})
    operator = operator_settings.from_environment({match["name"]: match["value"] for match in lines()})
    assert operator == operator_settings.Settings(operator.namespaces, operator.prometheus_url)


def test_it_holds_no_password() -> None:
    for match in lines():
        for password in re.findall(r"://[^/]*:([^@]*)@", match["value"]):
            assert password == "change-me"
