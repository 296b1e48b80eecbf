"""A stored release, parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from iris_operator.api import names
from iris_operator.api.base import ApiModel
from iris_operator.api.spec import Model, ReleaseSpec, Serving
from iris_operator.api.status import ReleaseStatus, RevisionRef
from iris_operator.api.stored_status import StoredStatus, read_status
from iris_operator.engine.kinds import RELEASE

# Another number of pods makes no other revision.
_REPLICA_FIELDS = ("replicas", "autoscaling")
# Written into the inputs whatever their value, and so part of every hash. This list is closed: a field that is added to
# `Model` or `Serving` is written only when it differs from its default, so that an upgrade changes no revision.
_ALWAYS_WRITTEN = frozenset({"name", "version", "image", "port", "resources", "env", "envFrom", "imagePullSecrets"})


class InvalidRelease(Exception):
    """A release that cannot be parsed, as one stored under an older CRD; the message names the fields."""


@dataclass(frozen=True)
class RevisionInputs:
    """The part of the spec that determines a revision's pods. Its hash is the revision; replicas are no part of it.

    `text` is as it was stored, when it was: a newer operator's has fields that this one does not know, and they stay.
    `template` is the pod template as it was found, for inputs with such fields: from them it cannot be built again.
    """

    model: Model
    serving: Serving
    text: str = ""
    template: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, spec: ReleaseSpec) -> RevisionInputs:
        """The inputs in a spec."""
        return cls(spec.model, spec.serving)

    def to_text(self) -> str:
        """Canonical JSON: the text that is hashed and stored on the Deployment."""
        return self.text or self.known_text

    @property
    def has_unknown_fields(self) -> bool:
        """Did a newer operator store fields that this one does not know?"""
        return bool(self.text) and self.text != self.known_text

    @cached_property
    def known_text(self) -> str:
        """Canonical JSON of the fields that this operator knows."""
        written = {"model": _to_write(self.model), "serving": _to_write(self.serving)}
        return _canonical(written)

    @classmethod
    def from_text(cls, text: str) -> RevisionInputs:
        """The inputs stored on a Deployment.

        Raises:
            ValueError: the text was edited and cannot be parsed.
        """
        data = json.loads(text)
        try:
            return cls(Model.model_validate(data["model"]), Serving.model_validate(data["serving"]), _canonical(data))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the inputs of a revision: {error}") from error

    @cached_property
    def ref(self) -> RevisionRef:
        """The revision's identity: ten hex digits of the hash, which a person can still compare."""
        revision = hashlib.sha256(self.to_text().encode()).hexdigest()[:10]
        return RevisionRef(revision=revision, version=self.model.version, image=self.model.image)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _to_write(block: ApiModel) -> dict[str, Any]:
    changed = block.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    always = {name: value for name, value in block.to_json().items() if name in _ALWAYS_WRITTEN}
    return {name: value for name, value in {**always, **changed}.items() if name not in _REPLICA_FIELDS}


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
    stored_status: StoredStatus = field(default_factory=StoredStatus)
    """What `status` was read from."""
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


def parse_release(body: Mapping[str, Any]) -> Release:
    """A stored object as a release. A status that cannot be read is no error: see `stored_status`.

    Raises:
        InvalidRelease: the spec cannot be parsed.
    """
    stored = read_status(body.get("status"))
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
        status=stored.status,
        stored_status=stored,
        annotations=metadata.get("annotations") or {},
        deleting="deletionTimestamp" in metadata,
        managed_fields=tuple(metadata.get("managedFields") or ()),
    )


def _explain(error: ValidationError, root: str) -> str:
    return "; ".join(f"{'.'.join(map(str, (root, *problem['loc'])))}: {problem['msg']}" for problem in error.errors())
