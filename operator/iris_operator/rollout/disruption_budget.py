"""Disruption budgets: how many pods of a revision may be evicted at once, by a drain of a node for example."""

from __future__ import annotations

from iris_operator.api.status import Stage
from iris_operator.rollout.builder import DecisionBuilder
from iris_operator.rollout.decision import ApplyDisruptionBudget, DeleteDisruptionBudget


def ensure_disruption_budgets(builder: DecisionBuilder) -> None:
    """Apply a budget for every revision that has traffic, and delete all others."""
    desired = _desired(builder)
    for revision, min_available in desired.items():
        observed = builder.observation.disruption_budgets.get(revision)
        if observed is None or not observed.intact or observed.min_available != min_available:
            builder.add_action(ApplyDisruptionBudget(revision, min_available))
    for revision in builder.observation.disruption_budgets:
        if revision not in desired:
            builder.add_action(DeleteDisruptionBudget(revision))


def _desired(builder: DecisionBuilder) -> dict[str, int | None]:
    """Pods that must stay, by revision. The canary's all must: one less than its share needs would roll it back."""
    rollout, stable, canary = builder.status.rollout, builder.status.stable, builder.status.canary
    desired: dict[str, int | None] = {}
    if canary and builder.observation.route.weight > 0 and rollout.stage is not Stage.PROMOTING:
        current = builder.observation.disruption_budgets.get(canary.revision)
        desired[canary.revision] = rollout.earned_pods or (current.min_available if current else None)
    elif canary and rollout.stage is Stage.PROMOTING:
        desired[canary.revision] = None
    if stable:
        desired[stable.revision] = None
    return desired
