"""The recipes' models, exported once for a whole test run."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from iris_training.export import export
from iris_training.recipes import RECIPES

Exported = Callable[[str], Path]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    base = tmp_path_factory.getbasetemp()
    # The workers of a run have folders of their own in one that belongs to the run.
    folders = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(recipe: str) -> Path:
        folder = folders / f"model-{recipe}"
        with (folders / f"{folder.name}.lock").open("w") as lock:
            # Until it is closed.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                draft = folders / f"{folder.name}.draft"
                draft.mkdir(exist_ok=True)
                export(RECIPES[recipe], recipe, draft)
                draft.rename(folder)
        return folder

    return folder_of
