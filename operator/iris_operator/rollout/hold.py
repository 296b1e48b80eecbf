"""The annotation `hold`, the lever for an emergency: all traffic to stable at once, and nothing moves until it is gone.

After a promotion's switch stable's Service leads to the new version already: it stays there, and the promotion ends.
"""

from __future__ import annotations

from iris_operator.api import names
from iris_operator.api.status import Shortcut, Stage
from iris_operator.rollout.builder import POLL_SECONDS, DecisionBuilder
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.drift_repair import ensure_service, ensure_workload
from iris_operator.rollout.observation import Annotation
from iris_operator.rollout.retreat import retreat
from iris_operator.rollout.rolling_back import may_withdraw
from iris_operator.rollout.scaling import full_capacity
from iris_operator.rollout.shadow import ensure_shadow_config

REASON = "Held"
_NO_HOLD = ("", "false")


def hold(builder: DecisionBuilder) -> Decision | None:
    """Obey the annotation. None without it, and where the stage itself ends with all traffic on stable (see `held`)."""
    annotation = builder.observation.annotations.get(names.ANNOTATION_HOLD)
    if annotation is None or annotation.value.strip().lower() in _NO_HOLD:
        _end(builder)
        return None
    message = held_message(annotation)
    if not builder.status.rollout.held:
        builder.update_rollout(held=True)
        builder.add_event(REASON, message, warning=True)
    match builder.status.rollout.stage:
        case Stage.INITIALIZING:
            return builder.build(REASON, message)
        case Stage.PROMOTING if _switched(builder):
            return _reset_weight(builder, message)
        case Stage.PROGRESSING | Stage.PROMOTING:
            return _withdraw(builder, message)
        case _:
            return None


def held(builder: DecisionBuilder) -> str:
    """Why nothing may begin, for people; empty when it may."""
    annotation = builder.observation.annotations.get(names.ANNOTATION_HOLD)
    return held_message(annotation) if builder.status.rollout.held and annotation else ""


def held_message(annotation: Annotation) -> str:
    """That it is held, why, by whom and until when."""
    value, by = annotation.value.strip(), f" by {annotation.manager}" if annotation.manager else ""
    why = "" if value.lower() == "true" else f": {value}"
    return f"all traffic stays on stable{why}; held{by} until the annotation {names.ANNOTATION_HOLD} is removed"


def _end(builder: DecisionBuilder) -> None:
    if not builder.status.rollout.held:
        return
    builder.update_rollout(held=False)
    if builder.status.rollout.stage is Stage.PROGRESSING:
        # Nobody waited for evidence or pods meanwhile.
        builder.update_rollout(hold_since=builder.now, waiting_since=None)
    builder.add_event("HoldEnded", "the annotation was removed; the release goes on")


def _switched(builder: DecisionBuilder) -> bool:
    canary = builder.status.canary
    return canary is not None and builder.observation.stable.selects == canary.revision


def _reset_weight(builder: DecisionBuilder, message: str) -> Decision | None:
    if builder.observation.route.weight == 0 or not sum(builder.observation.stable.ready.values()):
        return None
    builder.add_action(SetWeight(0))
    builder.requeue_after(0)
    return builder.build(REASON, message)


def _withdraw(builder: DecisionBuilder, message: str) -> Decision:
    builder.requeue_after(POLL_SECONDS)
    if not may_withdraw(builder):
        return builder.build(REASON, f"no pod of stable is ready, so that the canary keeps its traffic. Then {message}")
    rollout, stable = builder.status.rollout, builder.status.stable
    begun = rollout.stage is Stage.PROMOTING or builder.status.step.index or rollout.step_started_at
    if begun or builder.observation.route.weight:
        keeps = rollout.shortcut if rollout.shortcut is Shortcut.ROLLBACK_WINDOW else Shortcut.NONE
        retreat(builder, shortcut=keeps, stable_down_since=None)
    ensure_shadow_config(builder)
    if stable and not builder.observation.route.weight:
        ensure_workload(builder, stable, "stable", full_capacity(builder))
        ensure_service(builder, "stable", stable.revision)
    return builder.build(REASON, message)
