"""Runs other programs and turns their failures into readable messages."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from iris_local.errors import CommandError

_QUOTED_LINES = 25


# A command line: the program and its arguments.
Command = Sequence[str | Path]


def run(
    argv: Command,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    log: Path | None = None,
) -> str:
    """Runs a program to its end and returns its standard output.

    Args:
        argv: the program and its arguments.
        cwd: the folder to run in.
        environment: additional variables.
        stdin: text for its standard input, which is empty otherwise.
        log: a file for standard output and error; the result is then empty.

    Raises:
        CommandError: it could not be started or ended with an error.
    """
    command = [str(part) for part in argv]
    variables = {**os.environ, **(environment or {})}
    text = stdin or ""
    try:
        if log is None:
            done = subprocess.run(
                command, cwd=cwd, env=variables, input=text, capture_output=True, text=True, check=False
            )
            error_output = done.stderr.strip() or done.stdout.strip()
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w") as sink:
                done = subprocess.run(
                    command, cwd=cwd, env=variables, input=text, stdout=sink, stderr=sink, text=True, check=False
                )
            error_output = _tail(log) if done.returncode else ""
    except OSError as error:
        raise CommandError(f"{command[0]} could not be started: {error}") from error
    if done.returncode:
        where = f" (all of it in {log})" if log else ""
        raise CommandError(
            f"`{' '.join(command[:6])}` ended with {done.returncode}{where}:\n{last_lines(error_output)}"
        )
    return done.stdout or ""


def succeeds(argv: Command) -> bool:
    """Whether a program ends without an error; its output is discarded."""
    done = subprocess.run(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def last_lines(text: str, count: int = _QUOTED_LINES) -> str:
    """The end of a long text, where programs usually report errors."""
    return "\n".join(text.splitlines()[-count:])


def _tail(path: Path) -> str:
    return last_lines(path.read_text(errors="replace"))
