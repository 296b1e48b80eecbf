"""Builds the models once for each benchmark: joblib files for every environment, and our own export."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.inference.environments import DEVELOPMENT, ensure, python
from bench.inference.estimators import MODELS
from bench.inference.server import ServerSpec, environment_variables
from bench.inference.servers import exported_model_dir
from iris_training.export import export


def prepare(folder: Path, servers: Iterable[ServerSpec]) -> None:
    """Install the servers' environments and build their models below `folder`. Raises CalledProcessError."""
    for environment in sorted({server.environment for server in servers}):
        if environment != DEVELOPMENT:
            ensure(environment)
        subprocess.run(
            [python(environment), "-m", "bench.inference.estimators", folder / environment],
            check=True,
            env=environment_variables(environment, folder, {}),
        )
    for name, recipe in MODELS.items():
        export(recipe, name, exported_model_dir(folder, name))
