"""Asks for a version: sets the model of a release that is there, or makes the release."""

from __future__ import annotations

import copy

from iris_demo.kube import RELEASES, Kube, Object
from iris_pipeline.errors import PipelineError
from iris_pipeline.outcome import Wanted

FIELD_MANAGER = "iris-pipeline"


async def ask_for(
    kube: Kube, namespace: str, name: str, wanted: Wanted, *, pull_secret: str = "", template: Object | None = None
) -> Object:
    """The release, with `wanted` as its model; everything else of an existing one stays as it is.

    Raises:
        PipelineError: there is no such release, and no template to make it from.
    """
    existing = await kube.get(RELEASES, namespace, name)
    if existing is None:
        if template is None:
            raise PipelineError(
                f"There is no release {namespace}/{name}. Apply its resource once; then this changes it."
            )
        return await kube.apply(
            RELEASES, filled(template, namespace, name, wanted, pull_secret=pull_secret), FIELD_MANAGER
        )
    return await kube.merge(RELEASES, namespace, name, {"spec": change(existing["spec"], wanted, pull_secret)})


def filled(template: Object, namespace: str, name: str, wanted: Wanted, *, pull_secret: str = "") -> Object:
    """A release made from a template."""
    made = copy.deepcopy(template)
    made["metadata"] |= {"namespace": namespace, "name": name}
    for part, fields in change(made["spec"], wanted, pull_secret).items():
        made["spec"].setdefault(part, {}).update(fields)
    return made


def change(spec: Object, wanted: Wanted, pull_secret: str = "") -> Object:
    """What has to change in a spec: the model, and a Secret to pull with where it is not named yet."""
    changed: Object = {"model": {"version": wanted.version, "image": wanted.image}}
    named: list[Object] = spec.get("serving", {}).get("imagePullSecrets") or []
    if pull_secret and pull_secret not in [secret.get("name") for secret in named]:
        changed["serving"] = {"imagePullSecrets": [*named, {"name": pull_secret}]}
    return changed
