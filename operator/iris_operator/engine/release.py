"""A stored release, parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from iris_operator.api import names
from iris_operator.api.spec import Model, ReleaseSpec, Serving
from iris_operator.api.status import ReleaseStatus, RevisionRef
from iris_operator.engine.kinds import RELEASE

# Another number of pods makes no other revision.
_REPLICA_FIELDS = ("replicas", "autoscaling")


class InvalidRelease(Exception):
    """A release that cannot be parsed, as one stored under an older CRD; the message names the fields."""


@dataclass(frozen=True)
class RevisionInputs:
    """The part of the spec that determines a revision's pods. Its hash is the revision; replicas are no part of it."""

    model: Model
    serving: Serving

    @classmethod
    def of(cls, spec: ReleaseSpec) -> RevisionInputs:
        """The inputs in a spec."""
        return cls(spec.model, spec.serving)

    def to_text(self) -> str:
        """Canonical JSON: the text that is hashed and stored on the Deployment."""
        serving = {key: value for key, value in self.serving.to_json().items() if key not in _REPLICA_FIELDS}
        return json.dumps({"model": self.model.to_json(), "serving": serving}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> RevisionInputs:
        """The inputs stored on a Deployment.

        Raises:
            ValueError: the text was edited and cannot be parsed.
        """
        data = json.loads(text)
        return cls(Model.model_validate(data["model"]), Serving.model_validate(data["serving"]))

    @cached_property
    def ref(self) -> RevisionRef:
        """The revision's identity: ten hex digits of the hash, which a person can still compare."""
        revision = hashlib.sha256(self.to_text().encode()).hexdigest()[:10]
        return RevisionRef(revision=revision, version=self.model.version, image=self.model.image)


@dataclass(frozen=True)
class Release:
    """One stored `IrisModelRelease`."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: ReleaseSpec
    status: ReleaseStatus
    annotations: Mapping[str, str]
    deleting: bool
    managed_fields: Sequence[Mapping[str, Any]] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Labels of everything that belongs to the release."""
        return {names.LABEL_RELEASE: self.name, "app.kubernetes.io/managed-by": names.FIELD_MANAGER}

    @property
    def owner(self) -> dict[str, Any]:
        """The owner reference by which the garbage collector follows the release."""
        return {
            **RELEASE.type_meta,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }


def parse_status(body: Mapping[str, Any]) -> ReleaseStatus:
    """The stored status; the empty one when there is none yet.

    Raises:
        BrokenRelease: it cannot be read.
    """
    try:
        return ReleaseStatus.model_validate(body.get("status") or {})
    except ValidationError as error:
        raise InvalidRelease(f"status cannot be read: {_explain(error, 'status')}") from error


def parse_release(body: Mapping[str, Any]) -> Release:
    """A stored object as a release.

    Raises:
        BrokenRelease: spec or status cannot be parsed.
    """
    status = parse_status(body)
    try:
        spec = ReleaseSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        raise InvalidRelease(f"{_explain(error, 'spec')}. Correct the fields and apply again") from error
    metadata = body["metadata"]
    return Release(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        spec=spec,
        status=status,
        annotations=metadata.get("annotations") or {},
        deleting="deletionTimestamp" in metadata,
        managed_fields=tuple(metadata.get("managedFields") or ()),
    )


def _explain(error: ValidationError, root: str) -> str:
    return "; ".join(f"{'.'.join(map(str, (root, *problem['loc'])))}: {problem['msg']}" for problem in error.errors())
