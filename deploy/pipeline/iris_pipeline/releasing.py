"""Requests a version: sets the model of an existing release, or creates the release from a template."""

from __future__ import annotations

import copy

from iris_demo.kube import KubeClient, Object
from iris_demo.resources import RELEASES
from iris_pipeline.errors import PipelineError
from iris_pipeline.outcome import DesiredModel

FIELD_MANAGER = "iris-pipeline"


async def request_model(
    kube: KubeClient,
    namespace: str,
    name: str,
    desired: DesiredModel,
    *,
    pull_secret: str = "",
    template: Object | None = None,
) -> Object:
    """Sets the model of a release to `desired` and returns the release; everything else of an existing one stays.

    Raises:
        PipelineError: there is no such release, and no template to create it from.
    """
    existing = await kube.get(RELEASES, namespace, name)
    if existing is None:
        if template is None:
            raise PipelineError(
                f"There is no release {namespace}/{name}. Apply its resource once; then request versions of it."
            )
        return await kube.apply(
            RELEASES, from_template(template, namespace, name, desired, pull_secret=pull_secret), FIELD_MANAGER
        )
    return await kube.merge_patch(
        RELEASES, namespace, name, {"spec": spec_patch(existing["spec"], desired, pull_secret)}
    )


def from_template(
    template: Object, namespace: str, name: str, desired: DesiredModel, *, pull_secret: str = ""
) -> Object:
    """A release created from a template."""
    release = copy.deepcopy(template)
    release["metadata"] |= {"namespace": namespace, "name": name}
    for part, fields in spec_patch(release["spec"], desired, pull_secret).items():
        release["spec"].setdefault(part, {}).update(fields)
    return release


def spec_patch(spec: Object, desired: DesiredModel, pull_secret: str = "") -> Object:
    """The patch of a spec: the model, and the pull secret where it is not listed yet."""
    patch: Object = {"model": {"version": desired.version, "image": desired.image}}
    pull_secrets: list[Object] = spec.get("serving", {}).get("imagePullSecrets") or []
    if pull_secret and pull_secret not in [secret.get("name") for secret in pull_secrets]:
        patch["serving"] = {"imagePullSecrets": [*pull_secrets, {"name": pull_secret}]}
    return patch
