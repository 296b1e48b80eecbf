from collections.abc import Iterator

import pytest

from support.inference.api import Api
from support.inference.models import Exported, exported
from support.inference.serving import serve, serving

__all__ = ["exported", "good_service", "serve"]


@pytest.fixture(scope="module")
def good_service(exported: Exported) -> Iterator[Api]:
    """A service of the model 1.0.0 that the tests of a module share; neither Redis nor PostgreSQL is there."""
    with serving(exported("1.0.0")) as api:
        yield api
