"""The environments that the other servers run in: one for each lock file, kept until that file changes."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from iris_local.paths import CHECKOUT, cache_root

HERE: Final = Path(__file__).resolve().parent
DEVELOPMENT: Final = "development"
MLSERVER: Final = "mlserver"
BENTOML: Final = "bentoml"
# What the servers import from the checkout: the models' recipes, and their own modules.
PYTHONPATH: Final = f"{CHECKOUT / 'inference'}:{HERE.parents[1]}"


def python(environment: str) -> Path:
    """The interpreter of an environment that `ensure` has created."""
    if environment == DEVELOPMENT:
        return Path(sys.executable)
    return _folder(environment) / "bin" / "python"


def scripts(environment: str) -> Path:
    """The folder of an environment's programs."""
    return python(environment).parent


def ensure(environment: str) -> None:
    """Install the lock file's packages, by hash, unless that was done before. Raises CalledProcessError."""
    folder = _folder(environment)
    done = folder / "complete"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    subprocess.run(
        [*uv, "pip", "sync", "--quiet", "--python", folder / "bin" / "python", "--require-hashes", _lock(environment)],
        check=True,
    )
    done.touch()


def _folder(environment: str) -> Path:
    digest = hashlib.sha256(_lock(environment).read_bytes() + sys.version.encode()).hexdigest()[:12]
    return cache_root() / "bench" / f"{environment}-{digest}"


def _lock(environment: str) -> Path:
    return HERE / f"requirements-{environment}.txt"
