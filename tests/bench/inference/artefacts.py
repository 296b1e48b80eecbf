"""The models, made once for each benchmark: joblib files in every environment that wants them, and our own form."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.inference.contestant import Contestant, surroundings
from bench.inference.contestants import exported
from bench.inference.environments import DEVELOPMENT, ensure, python
from bench.inference.estimators import MODELS
from iris_training.export import export


def prepare(folder: Path, contestants: Iterable[Contestant]) -> None:
    """Install what the contestants need and make their models below `folder`. Raises CalledProcessError."""
    for environment in sorted({contestant.environment for contestant in contestants}):
        if environment != DEVELOPMENT:
            ensure(environment)
        subprocess.run(
            [python(environment), "-m", "bench.inference.estimators", folder / environment],
            check=True,
            env=surroundings(environment, folder, {}),
        )
    for name, recipe in MODELS.items():
        export(recipe, name, exported(folder, name))
