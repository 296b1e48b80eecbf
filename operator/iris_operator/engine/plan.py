"""Which of a decision's actions run whatever else fails, and which only when others have succeeded.

- Protecting actions take traffic away from the canary or give it to stable. They run first and always, even where the
  status cannot be stored: a reconcile decides them again from what it observes.
- All others need the stored intent, and each stands alone, but for two kinds:
- Removing actions run only when every protecting action has succeeded: what is removed may still serve.
- Raising actions give the canary more, or promote it. They run only when nothing failed that prepares the canary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from iris_operator.api import names
from iris_operator.api.status import RevisionRef
from iris_operator.engine.release import Release
from iris_operator.rollout.decision import (
    Action,
    ApplyAutoscaler,
    ApplyControlGroup,
    ApplyDisruptionBudget,
    ApplyShadowConfig,
    ApplyWorkload,
    Decision,
    DeleteAutoscaler,
    DeleteDisruptionBudget,
    DeleteWorkload,
    SelectRevision,
    SetWeight,
)
from iris_operator.rollout.observation import Observation


class Gate(Enum):
    """What must have succeeded before an action runs; see above."""

    PROTECTING = auto()
    INDEPENDENT = auto()
    REMOVING = auto()
    RAISING = auto()


@dataclass(frozen=True)
class Failure:
    """What could not be done, and why. `prepares` or protects: see `Gate`."""

    what: str
    error: Exception
    protecting: bool = False
    prepares: bool = False


def gate_of(action: Action, decision: Decision, observation: Observation) -> Gate:
    """The gate of one action of a decision about this observation."""
    stable = decision.status.stable
    match action:
        case SetWeight(weight) if weight != observation.route.weight:
            return Gate.PROTECTING if weight < observation.route.weight else Gate.RAISING
        case SelectRevision("stable", revision):
            return Gate.PROTECTING if stable and revision == stable.revision else Gate.RAISING
        case ApplyWorkload(ref, "stable") if ref == stable:
            return Gate.PROTECTING
        case ApplyWorkload(_, "retired") | DeleteWorkload():
            return Gate.REMOVING
        case ApplyShadowConfig(_, share) if share:
            return Gate.RAISING
        case _:
            return Gate.INDEPENDENT


def protecting_first(decision: Decision, observation: Observation) -> tuple[list[Action], list[tuple[Action, Gate]]]:
    """The protecting actions, those on traffic before those on pods, and the others with their gates."""
    gates = [(action, gate_of(action, decision, observation)) for action in decision.actions]
    protecting = [action for action, gate in gates if gate is Gate.PROTECTING]
    protecting.sort(key=lambda action: isinstance(action, ApplyWorkload))
    return protecting, [(action, gate) for action, gate in gates if gate is not Gate.PROTECTING]


def may_run(gate: Gate, failures: Iterable[Failure]) -> bool:
    """May an action behind this gate run after these failures?"""
    match gate:
        case Gate.REMOVING:
            return not any(failure.protecting for failure in failures)
        case Gate.RAISING:
            return not any(failure.protecting or failure.prepares for failure in failures)
        case _:
            return True


def prepares_canary(action: Action) -> bool:
    """Is the action one that a share of the traffic relies on?"""
    return isinstance(action, (ApplyWorkload, ApplyControlGroup, SelectRevision)) and not (
        isinstance(action, ApplyWorkload) and action.role == "retired"
    )


def describe(release: Release, action: Action) -> str:
    """The object that an action writes, for people."""
    match action:
        case ApplyWorkload(RevisionRef(revision=revision)) | DeleteWorkload(revision):
            what = f"Deployment {names.workload_name(release.name, revision)}"
        case ApplyControlGroup():
            what = "Deployment of the control group"
        case SelectRevision(backend):
            name = names.stable_service if backend == "stable" else names.canary_service
            what = f"Service {name(release.name)}"
        case SetWeight(weight):
            what = f"route, weight {weight}"
        case ApplyAutoscaler() | DeleteAutoscaler():
            what = f"HorizontalPodAutoscaler {names.autoscaler_name(release.name)}"
        case ApplyDisruptionBudget(revision) | DeleteDisruptionBudget(revision):
            what = f"PodDisruptionBudget {names.workload_name(release.name, revision)}"
        case _:
            what = f"ConfigMap {names.shadow_config(release.name)}"
    return what
