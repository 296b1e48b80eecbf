"""The inputs of a release's revisions: of the spec, and as they are stored on the Deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iris_operator.api import names
from iris_operator.engine.ports import OwnedObjects
from iris_operator.engine.release import Release, RevisionInputs


def stored_inputs(owned: OwnedObjects) -> dict[str, RevisionInputs]:
    """The inputs of each revision as stored on its Deployment; edited ones are left out.

    The revision's label is the hash of the whole text, also of fields that only a newer operator knows.
    """
    found: dict[str, RevisionInputs] = {}
    for item in owned.deployments:
        metadata = item["metadata"]
        revision = str((metadata.get("labels") or {}).get(names.LABEL_REVISION, ""))
        try:
            inputs = RevisionInputs.from_text((metadata.get("annotations") or {}).get(names.ANNOTATION_INPUTS, ""))
        except (ValueError, TypeError):
            continue
        known = RevisionInputs(inputs.model, inputs.serving)
        if known.ref.revision == revision:
            found[revision] = known
        elif inputs.ref.revision == revision:
            found[revision] = replace(inputs, template=item["spec"]["template"])
    return found


def target_inputs(release: Release, owned: OwnedObjects) -> RevisionInputs:
    """The inputs that the spec asks for.

    Those of a revision in use, when it differs only in fields that this operator does not know: for a difference that
    it cannot read, an older operator starts no release.
    """
    target, stored = RevisionInputs.of(release.spec), stored_inputs(owned)
    for revision in _in_use(release, owned):
        found = stored.get(revision)
        if found and found.has_unknown_fields and found.known_text == target.known_text:
            return found
    return target


def known_inputs(release: Release, owned: OwnedObjects) -> Mapping[str, RevisionInputs]:
    """All inputs that can be read, by revision: the stored ones and the target's."""
    target = target_inputs(release, owned)
    return {**stored_inputs(owned), target.ref.revision: target}


def _in_use(release: Release, owned: OwnedObjects) -> list[str]:
    """The revisions of stable and of the canary, and what the stable Service selects."""
    status = release.status
    selected = [
        str(_selector(item).get(names.LABEL_REVISION, ""))
        for item in owned.services
        if item["metadata"]["name"] == names.stable_service(release.name)
    ]
    return [*(ref.revision for ref in (status.stable, status.canary) if ref), *selected]


def _selector(service: Mapping[str, Any]) -> Mapping[str, Any]:
    return service["spec"].get("selector") or {}
