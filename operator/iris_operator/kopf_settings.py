"""How Kopf is used: without events or annotations of its own on objects, and with the operator's finalizer."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

import kopf

from iris_operator.adapters.kinds import WATCHED
from iris_operator.api import names


class Stopped(Protocol):
    """Kopf's flag that a daemon must end."""

    def __bool__(self) -> bool:
        """True when it must end."""

    def wait(self) -> Awaitable[Any]:
        """Wait until it must end."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Change Kopf's settings, before its watches begin."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = names.FINALIZER
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    for kind in WATCHED:
        settings.watching.label_selectors[kind.plural] = names.LABEL_RELEASE


class _NoDiffBase(kopf.DiffBaseStorage):
    """Every reconcile compares the cluster with the spec; Kopf need not store the last spec in an annotation."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - Kopf's signature
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""
