"""Requests that are mirrored to both arms before the canary gets traffic of its own, and none afterwards."""

from __future__ import annotations

from iris_operator.analysis.checks import shadow_traffic
from iris_operator.api.spec import Step
from iris_operator.api.status import RevisionRef, Stage
from iris_operator.rollout.builder import DecisionBuilder, steps_of
from iris_operator.rollout.control_group import required_pods
from iris_operator.rollout.decision import ApplyShadowConfig
from iris_operator.rollout.observation import ShadowConfig
from iris_operator.rollout.scaling import full_capacity


def ensure_shadow_config(builder: DecisionBuilder) -> None:
    """Apply the shadow configuration that the status intends. A release without a shadow step never has one."""
    desired, observed = _desired(builder), builder.observation.shadow_config
    if observed is None and desired.revision is None:
        return
    if builder.status.rollout.stage is Stage.ROLLING_BACK and builder.observation.route.weight > 0:
        # Traffic is withdrawn from the canary before anything else, and no other action may fail before it.
        return
    if observed and not observed.intact:
        builder.add_event(
            "ShadowRepaired", "the shadow configuration was changed by somebody else; applied again", warning=True
        )
    if observed is None or not observed.intact or _content(observed) != _content(desired):
        builder.add_action(desired)


def shadow_config_applied(builder: DecisionBuilder, step: Step) -> bool:
    """Is the shadow configuration the one of this step?"""
    observed, canary = builder.observation.shadow_config, builder.status.canary
    return (
        observed is not None
        and canary is not None
        and step.shadow is not None
        and _content(observed) == _content(shadow_action(builder, canary, step.shadow))
    )


def shadow_action(builder: DecisionBuilder, canary: RevisionRef, share: int) -> ApplyShadowConfig:
    """Mirror this share of the requests, in percent, to the canary and to the rollout's control group."""
    control = builder.status.control
    return ApplyShadowConfig(canary.revision, share, control.revision if control else "")


def start_dwell_at_first_mirrored_request(builder: DecisionBuilder) -> None:
    """The dwell time starts with the first mirrored request: the kubelet updates the mounted configuration late."""
    judgement, through, started = (
        builder.observation.judgement,
        builder.observation.judged_through,
        builder.status.rollout.step_started_at,
    )
    if judgement is None or not judgement.counted or through is None or started is None or through <= started:
        return
    if any(result.name == shadow_traffic.NAME and not result.requests for result in judgement.results):
        builder.update_rollout(step_started_at=through)


def _desired(builder: DecisionBuilder) -> ApplyShadowConfig:
    """Labels come late, so it names the canary until the end of its rollout, with share 0 after the shadow step."""
    steps, canary, index = steps_of(builder.spec), builder.status.canary, builder.status.step.index
    progressing = builder.status.rollout.stage is Stage.PROGRESSING
    if canary is None or not progressing or not index or not any(step.shadow for step in steps):
        return ApplyShadowConfig(None)
    share = steps[min(index, len(steps)) - 1].shadow or 0
    observed, pods = builder.observation.shadow_config, builder.observation.workloads.get(canary.revision)
    if builder.status.rollout.step_started_at and (pods.ready if pods else 0) < required_pods(
        full_capacity(builder), share
    ):
        # The step was edited, and the pods for more mirrored requests are not ready yet.
        share = min(share, observed.share if observed and observed.revision == canary.revision else 0)
    return shadow_action(builder, canary, share)


def _content(config: ShadowConfig | ApplyShadowConfig) -> tuple[str | None, int, str]:
    return config.revision, config.share, config.control
