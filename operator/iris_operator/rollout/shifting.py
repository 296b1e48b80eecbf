"""The route's weight: set, verified and confirmed, and kept at what the present pods of both arms allow."""

from __future__ import annotations

from iris_operator.api.durations import format_duration
from iris_operator.api.spec import Step
from iris_operator.api.status import Outcome, RevisionRef
from iris_operator.rollout.builder import POLL_SECONDS, DecisionBuilder, seconds_of, seconds_since
from iris_operator.rollout.comparison import control_workload, serving_pods
from iris_operator.rollout.control_group import arm_pods
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.rolling_back import begin_rollback
from iris_operator.rollout.scaling import full_capacity
from iris_operator.rollout.shadow import shadow_config_applied


def set_route(builder: DecisionBuilder, weight: int) -> Decision:
    """Set the route's weight: a step just begun, one interrupted, pods that came or went, or an edit by hand."""
    route, rollout = builder.observation.route, builder.status.rollout
    edited = rollout.route_weight is not None and (route.weight != rollout.route_weight or not route.intact)
    if edited and (rollout.step_started_at is not None or not builder.status.step.index):
        builder.add_event(
            "RouteRepaired", f"the route was changed by somebody else; weight {weight} again", warning=True
        )
    builder.update_rollout(route_weight=None)
    builder.add_action(SetWeight(weight))
    builder.requeue_after(0)
    return builder.build("Shifting", f"the route's weight {route.weight} -> {weight}")


def accept_route(builder: DecisionBuilder) -> None:
    """The route is as intended: from now on another weight is somebody else's."""
    weight = builder.observation.route.weight
    if builder.status.rollout.route_weight != weight:
        builder.update_rollout(route_weight=weight)


def await_endpoints(builder: DecisionBuilder, share: int) -> Decision | None:
    """Before the weight rises: the ready endpoints for this share of the requests, in percent. None when they are."""
    rollout, serving = builder.status.rollout, serving_pods(builder)
    needed = arm_pods(full_capacity(builder), share)
    least = needed.canary
    control = 0
    if rollout.step_started_at is None:
        # Pods of the control group that were lost since then are not awaited: the weight is smaller without them.
        observed = control_workload(builder)
        control = min(needed.control, observed.ready) if observed else 0
    elif rollout.earned_pods:
        least = min(least, rollout.earned_pods)
    if rollout.stable_down_since is not None:
        least = 1  # nobody else can answer
    if serving.canary >= least and serving.control >= control:
        return None
    builder.requeue_after(POLL_SECONDS)
    both = f" and {control} of the control group" if control else ""
    return builder.build("WaitingForEndpoints", f"weight {share} waits for {least} ready endpoints of the canary{both}")


def confirm_step(builder: DecisionBuilder, canary: RevisionRef, step: Step, share: int) -> Decision:
    """The route has the step's weight: the step begins."""
    reason, message = "WeightShifted", f"version {canary.version} gets {share} % of the traffic"
    if step.shadow:
        if not shadow_config_applied(builder, step):
            return _await_shadow_config(builder, canary, step)
        reason = "Shadowing"
        message = (
            f"{step.shadow} % of the requests are mirrored to version {canary.version}; no client gets its answers"
        )
    builder.update_rollout(step_started_at=builder.now, hold_since=builder.now, confirmed_weight=share)
    if share and builder.status.rollout.traffic_since is None:
        builder.update_rollout(traffic_since=builder.now)
    builder.add_event(reason, message)
    return builder.build(reason, message)


def _await_shadow_config(builder: DecisionBuilder, canary: RevisionRef, step: Step) -> Decision:
    """The shadow configuration is not observed yet. Nothing is judged meanwhile, so this has a timeout of its own."""
    if builder.status.rollout.hold_since is None:
        builder.update_rollout(hold_since=builder.now)
    held = seconds_since(builder.status.rollout.hold_since, builder.now)
    if held > seconds_of(builder.spec.rollout.hold_timeout):
        message = f"version {canary.version}: its shadow configuration was not observed for {format_duration(held)}"
        return begin_rollback(builder, Outcome.ROLLED_BACK, "HoldTimeout", message)
    builder.requeue_after(POLL_SECONDS)
    return builder.build("Shifting", f"mirroring {step.shadow} % of the requests to version {canary.version}")
