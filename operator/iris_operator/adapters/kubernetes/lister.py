"""A release's objects from memory: Kopf's indices, kept up to date by its watches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from iris_operator.engine.kinds import WATCHED_BY_ENGINE
from iris_operator.engine.ports import OwnedObjects

Index = Mapping[tuple[str, str], Iterable[Any]]
"""(namespace, release) -> objects."""


class IndexLister:
    """Implements `engine.ports.Lister`; Kopf fills the indices before the first handler runs."""

    def __init__(self, indices: Mapping[str, Index]) -> None:
        """`indices` by name, at least those that the watched kinds name; others are ignored."""
        self._indices = {kind.index: indices[kind.index] for kind in WATCHED_BY_ENGINE}

    def owned_objects(self, namespace: str, release: str) -> OwnedObjects:
        """See `Lister.owned_objects`."""
        return OwnedObjects(
            **{name: tuple(index.get((namespace, release), ())) for name, index in self._indices.items()}
        )
