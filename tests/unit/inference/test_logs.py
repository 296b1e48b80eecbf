import json
import logging
import math
import sys

from iris_inference.logs import JsonFormatter, fields


def render(message: str, *, failed: bool = False, **values: object) -> dict[str, object]:
    record = logging.LogRecord("iris", logging.INFO, "file", 1, message, (), sys.exc_info() if failed else None)
    record.__dict__.update(fields(**values))
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return dict(json.loads(line))


def test_a_line_carries_its_fields() -> None:
    line = render("ready", seconds=1.5, model="iris")
    assert (line["message"], line["level"], line["seconds"], line["model"]) == ("ready", "INFO", 1.5, "iris")


def test_a_stack_trace_is_a_field() -> None:
    line: dict[str, object] = {}
    try:
        int("two\nlines")
    except ValueError:
        line = render("failed", failed=True)
    assert "ValueError: invalid literal" in str(line["stack"])


def test_values_that_json_does_not_have_are_written_as_text() -> None:
    line = render("odd", number=math.nan, thing=object())
    assert line["number"] == "NaN"
    assert str(line["thing"]).startswith("<object")
