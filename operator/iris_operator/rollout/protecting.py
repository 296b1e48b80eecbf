"""Disruption budgets: how many pods of a revision may leave at once for reasons that are not the release's."""

from __future__ import annotations

from iris_operator.api.status import Stage
from iris_operator.rollout.decision import Protect, Unprotect
from iris_operator.rollout.plan import Plan


def protect(plan: Plan) -> None:
    """Keep a budget for every revision that has traffic, and for no other."""
    wanted = _wanted(plan)
    for revision, at_least in wanted.items():
        seen = plan.o.budgets.get(revision)
        if seen is None or not seen.intact or seen.at_least != at_least:
            plan.act(Protect(revision, at_least))
    for revision in plan.o.budgets:
        if revision not in wanted:
            plan.act(Unprotect(revision))


def _wanted(plan: Plan) -> dict[str, int | None]:
    """Pods that must stay, by revision. Losing a pod that its share needs would take the canary back: none may go."""
    rollout, stable, canary = plan.status.rollout, plan.status.stable, plan.status.canary
    wanted: dict[str, int | None] = {}
    if canary and plan.o.route.weight > 0 and rollout.stage is not Stage.PROMOTING:
        kept = plan.o.budgets.get(canary.revision)
        wanted[canary.revision] = rollout.earned_pods or (kept.at_least if kept else None)
    elif canary and rollout.stage is Stage.PROMOTING:
        wanted[canary.revision] = None
    if stable:
        wanted[stable.revision] = None
    return wanted
