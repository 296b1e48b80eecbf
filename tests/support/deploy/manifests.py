"""Lookups in a list of Kubernetes objects."""

from collections.abc import Iterator, Sequence
from typing import Any

Manifest = dict[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def find_manifest(objects: Sequence[Manifest], kind: str, name: str, namespace: str | None = None) -> Manifest:
    """The one object of that kind, name and namespace."""
    found = [
        item
        for item in objects
        if (item["kind"], item["metadata"]["name"]) == (kind, name)
        and namespace in (None, item["metadata"].get("namespace"))
    ]
    assert len(found) == 1, f"{len(found)} objects are {kind} {namespace}/{name}"
    return found[0]


def workloads(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Each workload's name and pod spec."""
    for item in objects:
        if item["kind"] in WORKLOADS:
            yield item["metadata"]["name"], item["spec"]["template"]["spec"]


def containers(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Each container, init containers included, with a name that includes its workload's."""
    for name, pod in workloads(objects):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}/{container['name']}", container
