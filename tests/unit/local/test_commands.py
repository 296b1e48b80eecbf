from pathlib import Path

import pytest

from iris_local.commands import last_lines, run, succeeds
from iris_local.errors import CommandError


def test_the_output_of_a_program_is_returned() -> None:
    assert run(["cat"], stdin="hello") == "hello"


def test_variables_are_added_to_the_environment() -> None:
    assert run(["sh", "-c", 'echo "$EXTRA:$PATH"'], environment={"EXTRA": "more"}).startswith("more:/")


def test_a_failure_names_the_program_and_quotes_the_end_of_its_output() -> None:
    with pytest.raises(CommandError, match=r"`sh -c .*` ended with 3:\nno such thing"):
        run(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_a_failure_of_a_logged_program_quotes_the_end_of_the_log_and_its_path(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "build.log"
    with pytest.raises(CommandError, match=r"line 40") as caught:
        run(["sh", "-c", "for i in $(seq 40); do echo line $i; done; exit 1"], log=log)
    assert str(log) in str(caught.value)
    assert "line 2\n" not in str(caught.value)
    assert log.read_text().startswith("line 1\n")


def test_a_program_that_does_not_exist_is_an_error_that_names_it() -> None:
    with pytest.raises(CommandError, match="no-such-program could not be started"):
        run(["no-such-program"])


def test_success_and_failure_are_distinguished() -> None:
    assert succeeds(["true"])
    assert not succeeds(["false"])


def test_only_the_end_of_a_long_text_is_quoted() -> None:
    assert last_lines("1\n2\n3", count=2) == "2\n3"
