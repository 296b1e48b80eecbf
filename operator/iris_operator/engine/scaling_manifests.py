"""What scales a release's pods and what keeps drains from taking too many of them: manifests, by pure functions."""

from __future__ import annotations

from typing import Any

from iris_operator.api import names
from iris_operator.api.spec import Autoscaling
from iris_operator.engine.release import Release

AUTOSCALING = "autoscaling/v2"
AUTOSCALER = "HorizontalPodAutoscaler"
POLICY = "policy/v1"
BUDGET = "PodDisruptionBudget"


def autoscaler(release: Release, scaling: Autoscaling, revision: str, *, shrinks: bool) -> dict[str, Any]:
    """The autoscaler of a release, scaling the Deployment of one revision.

    Args:
        release: whose it is.
        scaling: its bounds and its aim.
        revision: which revision's pods it counts and scales.
        shrinks: whether it may take pods away.
    """
    aim = {"type": "Utilization", "averageUtilization": scaling.target_cpu_utilization}
    return {
        "apiVersion": AUTOSCALING,
        "kind": AUTOSCALER,
        "metadata": _metadata(release, names.autoscaler_name(release.name)),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": names.workload_name(release.name, revision),
            },
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": aim}}],
            "behavior": {"scaleDown": {"selectPolicy": "Max" if shrinks else "Disabled"}},
        },
    }


def budget(release: Release, revision: str, at_least: int | None) -> dict[str, Any]:
    """The disruption budget of one revision: how many of its pods a drain must leave; None is all but one.

    One for each revision, because the eviction of a pod with two budgets is refused whatever they say.
    """
    limit = {"maxUnavailable": 1} if at_least is None else {"minAvailable": at_least}
    return {
        "apiVersion": POLICY,
        "kind": BUDGET,
        "metadata": _metadata(release, names.workload_name(release.name, revision))
        | {"labels": {**release.labels, names.LABEL_REVISION: revision}},
        "spec": {
            **limit,
            "selector": {"matchLabels": {names.LABEL_RELEASE: release.name, names.LABEL_REVISION: revision}},
            # Pods that never get ready are no loss, and a drain must not wait for them.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _metadata(release: Release, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": release.namespace,
        "labels": release.labels,
        "ownerReferences": [release.owner],
    }
