"""The release as a pass sees it: the stored object, parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from iris_operator.api import names
from iris_operator.api.spec import Model, ReleaseSpec, Serving
from iris_operator.api.status import ReleaseStatus, RevisionRef

# Another number of pods is no other revision.
_NUMBER_OF_PODS = ("replicas", "autoscaling")


class BrokenRelease(Exception):
    """A release that cannot be understood (stored under an older CRD, say); the message names the fields."""


@dataclass(frozen=True)
class Inputs:
    """What a revision's pods are made of. Its hash is the revision; how many they are is no part of it."""

    model: Model
    serving: Serving

    @classmethod
    def of(cls, spec: ReleaseSpec) -> Inputs:
        """The inputs that a spec asks for."""
        return cls(spec.model, spec.serving)

    def to_text(self) -> str:
        """Canonical JSON, the text that is hashed and kept on the Deployment."""
        serving = {key: value for key, value in self.serving.to_json().items() if key not in _NUMBER_OF_PODS}
        return json.dumps({"model": self.model.to_json(), "serving": serving}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Inputs:
        """The inputs kept on a Deployment.

        Raises:
            ValueError: the text was edited into something else.
        """
        data = json.loads(text)
        return cls(Model.model_validate(data["model"]), Serving.model_validate(data["serving"]))

    @cached_property
    def ref(self) -> RevisionRef:
        """The revision's identity: ten hex digits of the hash are a name that a person can still compare."""
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

    @property
    def labels(self) -> dict[str, str]:
        """Labels of everything that belongs to the release."""
        return {names.LABEL_RELEASE: self.name, "app.kubernetes.io/managed-by": names.FIELD_MANAGER}

    @property
    def owner(self) -> dict[str, Any]:
        """The owner reference by which the garbage collector follows the release."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
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
        raise BrokenRelease(f"status cannot be read: {_fields(error, 'status')}") from error


def parse_release(body: Mapping[str, Any]) -> Release:
    """A stored object as a release.

    Raises:
        BrokenRelease: spec or status cannot be understood.
    """
    status = parse_status(body)
    try:
        spec = ReleaseSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        raise BrokenRelease(f"{_fields(error, 'spec')}. Correct the fields and apply again") from error
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
    )


def _fields(error: ValidationError, root: str) -> str:
    return "; ".join(f"{'.'.join(map(str, (root, *problem['loc'])))}: {problem['msg']}" for problem in error.errors())
