"""The specification of a server: how it is started, how a request is encoded, how a response is decoded."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.inference import environments
from bench.inference.instances import Instance

SERVER_CPU: Final = 0
LOAD_CPU: Final = 1


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a server gets: three ports on loopback, an empty folder of its own, and the folder of the models."""

    ports: tuple[int, int, int]
    folder: Path
    model_dir: Path


@dataclass(frozen=True, slots=True)
class LaunchCommand:
    """A command line and its environment variables."""

    command: list[str]
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """The route, the encoder of a body for some instances, and the decoder of the class indices in a response."""

    path: str
    encode: Callable[[Sequence[Instance]], bytes]
    decode_labels: Callable[[Any], list[int]]


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server with one model; `model` is None for the one that has none."""

    name: str
    environment: str
    model: str | None
    launch_command: Callable[[Sandbox], LaunchCommand]
    request_format: RequestFormat
    has_stores: bool = False
    """Whether it uses PostgreSQL and Redis."""


def pinned(command: Sequence[str]) -> list[str]:
    """The command, pinned to the servers' core, and killed when the benchmark dies."""
    return ["setpriv", "--pdeathsig=KILL", "--", "taskset", "--cpu-list", str(SERVER_CPU), *command]


def environment_variables(environment: str, folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The same variables for every server, and none of the caller's, which may slow numpy down (OPENBLAS_CORETYPE)."""
    return {
        "PATH": f"{environments.scripts(environment)}{os.pathsep}{os.defpath}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": environments.PYTHONPATH,
        # One compute thread for one core; more would only wait for each other.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **extra,
    }
