"""What people wrote on the release, and who did: from its annotations and managed fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from iris_operator.api import names
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import Annotation


def annotations_of_people(release: Release) -> Mapping[str, Annotation]:
    """Those annotations by which people act, by name, with the field manager that wrote each of them last."""
    return {
        name: _annotation(release, name, value)
        for name, value in release.annotations.items()
        if name in names.ANNOTATIONS_OF_PEOPLE
    }


def _annotation(release: Release, name: str, value: str) -> Annotation:
    owners = [entry for entry in release.managed_fields if _owns(entry, name)]
    # Times of the API server are all of one format, so that the texts sort as the times do.
    newest = max(owners, key=lambda entry: str(entry.get("time") or ""), default=None)
    if newest is None:
        return Annotation(value)
    return Annotation(value, str(newest.get("manager") or ""), _parse_time(newest.get("time")))


def _owns(entry: Mapping[str, Any], annotation: str) -> bool:
    fields: Any = entry.get("fieldsV1")
    for key in ("f:metadata", "f:annotations", f"f:{annotation}"):
        if not isinstance(fields, Mapping) or key not in fields:
            return False
        fields = fields[key]
    return True


def _parse_time(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
