"""All kinds of objects that the operator uses: the engine's and those of every router."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from iris_operator.adapters.routers.registry import ROUTER_KINDS
from iris_operator.engine.kinds import EVENT, RELEASE, WATCHED_BY_ENGINE, ResourceKind, WatchedKind

WATCHED: Final[tuple[WatchedKind, ...]] = tuple(dict.fromkeys((*WATCHED_BY_ENGINE, *ROUTER_KINDS)))
"""Kinds of objects that belong to a release, each once although two routers may need the same."""

ALL: Final[tuple[ResourceKind, ...]] = (RELEASE, *WATCHED, EVENT)


def required_rights(kinds: Iterable[ResourceKind] = ALL) -> Iterator[tuple[str, str, str]]:
    """The rights that the operator's Role must grant: verb, API group, resource or resource/subresource."""
    for kind in kinds:
        for verb in kind.verbs:
            yield verb, kind.group, kind.plural
        for verb in kind.status_verbs:
            yield verb, kind.group, f"{kind.plural}/status"
