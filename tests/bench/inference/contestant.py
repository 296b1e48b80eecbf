"""What the benchmark has to know of a server: how it is started, how it is asked, how its answer is read."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.inference import environments
from bench.inference.flowers import Flower

SERVER_CPU: Final = 0
LOAD_CPU: Final = 1


@dataclass(frozen=True, slots=True)
class Place:
    """What a server is given: three ports on loopback, an empty folder of its own, and the folder of the models."""

    ports: tuple[int, int, int]
    folder: Path
    models: Path


@dataclass(frozen=True, slots=True)
class Start:
    """A command line and the variables that it needs."""

    command: list[str]
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """How flowers are asked about: the route, the body for some flowers, and the class indices in its answer."""

    path: str
    body: Callable[[Sequence[Flower]], bytes]
    labels: Callable[[Any], list[int]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One server with one model; `model` is None for the one that has none."""

    name: str
    environment: str
    model: str | None
    start: Callable[[Place], Start]
    form: Form
    has_stores: bool = False
    """Whether PostgreSQL and Redis stand behind it."""


def pinned(command: Sequence[str]) -> list[str]:
    """The command line that runs on the servers' core, and ends when the benchmark does, however that is killed."""
    return ["setpriv", "--pdeathsig=KILL", "--", "taskset", "--cpu-list", str(SERVER_CPU), *command]


def surroundings(environment: str, folder: Path, own: Mapping[str, str]) -> dict[str, str]:
    """The same variables for everyone and nothing of the caller's, who may slow numpy down with OPENBLAS_CORETYPE."""
    return {
        "PATH": f"{environments.scripts(environment)}{os.pathsep}{os.defpath}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": environments.PYTHONPATH,
        # One core has room for one thread that calculates; more would only wait for each other.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **own,
    }
