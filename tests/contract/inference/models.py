"""The recipes' models, exported once for a whole test run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from iris_training.export import export
from iris_training.recipes import RECIPES

Exported = Callable[[str], Path]
_folders: dict[str, Path] = {}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    def folder_of(recipe: str) -> Path:
        if recipe not in _folders:
            folder = tmp_path_factory.mktemp(f"model-{recipe}")
            export(RECIPES[recipe], recipe, folder)
            _folders[recipe] = folder
        return _folders[recipe]

    return folder_of
