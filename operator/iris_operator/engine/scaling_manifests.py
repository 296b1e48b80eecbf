"""Manifests of a release's autoscaler and disruption budgets, by pure functions."""

from __future__ import annotations

from typing import Any

from iris_operator.api import names
from iris_operator.api.spec import Autoscaling
from iris_operator.engine.kinds import AUTOSCALER, DEPLOYMENT, DISRUPTION_BUDGET
from iris_operator.engine.ownership import own_metadata
from iris_operator.engine.release import Release


def autoscaler(release: Release, scaling: Autoscaling, revision: str, *, scale_down_allowed: bool) -> dict[str, Any]:
    """The autoscaler of a release, scaling the Deployment of one revision.

    Args:
        release: the release that it belongs to.
        scaling: its bounds and its target.
        revision: the revision whose pods it measures and scales.
        scale_down_allowed: whether it may remove pods.
    """
    target = {"type": "Utilization", "averageUtilization": scaling.target_cpu_utilization}
    return {
        **AUTOSCALER.type_meta,
        "metadata": own_metadata(release, names.autoscaler_name(release.name)),
        "spec": {
            "scaleTargetRef": {
                **DEPLOYMENT.type_meta,
                "name": names.workload_name(release.name, revision),
            },
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleDown": {"selectPolicy": "Max" if scale_down_allowed else "Disabled"}},
        },
    }


def disruption_budget(release: Release, revision: str, min_available: int | None) -> dict[str, Any]:
    """The disruption budget of one revision: how many of its pods evictions must leave; None is all but one.

    One for each revision, because the API server refuses to evict a pod with two budgets.
    """
    limit = {"maxUnavailable": 1} if min_available is None else {"minAvailable": min_available}
    return {
        **DISRUPTION_BUDGET.type_meta,
        "metadata": own_metadata(release, names.workload_name(release.name, revision))
        | {"labels": {**release.labels, names.LABEL_REVISION: revision}},
        "spec": {
            **limit,
            "selector": {"matchLabels": {names.LABEL_RELEASE: release.name, names.LABEL_REVISION: revision}},
            # Pods that never become ready serve nothing, and must not block a drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
