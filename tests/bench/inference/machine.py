"""The machine and the software versions, without which the numbers cannot be interpreted."""

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.inference.environments import BENTOML, DEVELOPMENT, MLSERVER, python

_PACKAGES: Final = {
    DEVELOPMENT: ("fastapi", "uvicorn", "uvloop", "httptools", "pydantic", "onnxruntime", "scikit-learn", "numpy"),
    MLSERVER: ("mlserver", "mlserver-sklearn", "fastapi", "uvicorn", "pydantic", "scikit-learn", "numpy"),
    BENTOML: ("bentoml", "starlette", "uvicorn", "pydantic", "scikit-learn", "numpy"),
}
_GIBIBYTE: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware and the system."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    virtual: bool


def machine() -> Machine:
    """This one."""
    processors = Path("/proc/cpuinfo").read_text()
    kibibytes = int(_value(Path("/proc/meminfo").read_text(), "MemTotal").split()[0])
    return Machine(
        processor=_value(processors, "model name"),
        cores=processors.count("processor\t"),
        memory_gib=round(kibibytes * 1024 / _GIBIBYTE, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        virtual="hypervisor" in _value(processors, "flags").split(),
    )


def versions(environments: set[str]) -> dict[str, dict[str, str]]:
    """The packages of each environment, and the versions of the load generator and of the stores."""
    return {environment: _packages(environment) for environment in sorted(environments)} | {"programs": _programs()}


def commit() -> str:
    """The checkout's commit, with `+changes` when files differ from it."""
    root = Path(__file__).resolve().parent
    described = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


def _packages(environment: str) -> dict[str, str]:
    names = _PACKAGES[environment]
    if environment == DEVELOPMENT:
        return {name: version(name) for name in names}
    program = "import sys, importlib.metadata as m; print('\\n'.join(m.version(n) for n in sys.argv[1:]))"
    asked = subprocess.run([python(environment), "-c", program, *names], capture_output=True, text=True, check=True)
    return dict(zip(names, asked.stdout.split(), strict=True))


def _programs() -> dict[str, str]:
    # wrk prints its version only together with its usage, and exits with 1.
    asked = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
    return {"wrk": asked.stdout.split("[")[0].strip(), "redis": redis.stdout.split(" sha")[0].strip()}


def _value(text: str, name: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
