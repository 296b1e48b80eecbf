"""The watch after a promotion: the version before stays warm, and a failure of the new one goes back to it at once."""

from __future__ import annotations

from datetime import timedelta

from iris_operator.analysis.checkpoint import serialize
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.status import Outcome, RevisionRef, Stage, WatchStatus
from iris_operator.rollout.builder import DecisionBuilder, enter_stage, next_attempt, seconds_of
from iris_operator.rollout.comparison import control_of
from iris_operator.rollout.decision import ApplyWorkload, Decision
from iris_operator.rollout.retreat import retreat
from iris_operator.rollout.rolling_back import begin_rollback, explain_failure
from iris_operator.rollout.scaling import full_capacity
from iris_operator.rollout.timing import judgement_interval, seconds_to_tick


def watch_after_promotion(builder: DecisionBuilder, previous: RevisionRef | None) -> WatchStatus | None:
    """The watch that begins with a promotion; None without a version before, and when it is switched off."""
    seconds = seconds_of(builder.spec.rollout.watch)
    if previous is None or not seconds:
        return None
    analysis = builder.status.analysis
    return WatchStatus(
        previous=previous,
        until=builder.now + timedelta(seconds=seconds),
        judged_through=builder.now,
        memory=analysis.memory if analysis else "",
    )


def watch(builder: DecisionBuilder) -> Decision | None:
    """While stable serves what the spec asks for: keep the version before warm, and go back to it after a failure.

    None when there is nothing to go back for. A change of the spec ends the watch.
    """
    watched, stable = builder.status.watch, builder.status.stable
    if watched is None or stable is None:
        return None
    previous = builder.observation.workloads.get(watched.previous.revision)
    switched_off = not seconds_of(builder.spec.rollout.watch)
    if (
        builder.observation.target.revision != stable.revision
        or builder.now >= watched.until
        or switched_off
        or previous is None
    ):
        builder.update_status(watch=None)
        builder.requeue_after(0)
        return None
    _store_judgement(builder, watched)
    builder.requeue_after(seconds_to_tick(builder.now, judgement_interval(seconds_of(builder.spec.rollout.interval))))
    pods = full_capacity(builder)
    if previous.inputs_known and (not previous.intact or previous.replicas < pods):
        replicas = max(pods, previous.replicas)
        builder.add_action(ApplyWorkload(watched.previous, "retired", replicas, previous.retired_at))
    failure = _failure(builder, stable)
    if failure is None or not previous.ready:
        return None
    observed = builder.observation.workloads.get(stable.revision)
    if failure[0] == "NotReady" and not (observed and observed.probe_failure):
        return _begin_again(builder, watched.previous, stable, failure[1])
    return _go_back(builder, watched.previous, stable, *failure)


def _store_judgement(builder: DecisionBuilder, watched: WatchStatus) -> None:
    judgement = builder.observation.watch_judgement
    if judgement is None:
        return
    changes = {
        "judged_at": builder.now,
        "judged_through": builder.observation.judged_through or watched.judged_through,
        "memory": serialize(judgement.checkpoint),
    }
    builder.update_status(watch=watched.model_copy(update=changes))


def _failure(builder: DecisionBuilder, stable: RevisionRef) -> tuple[str, str] | None:
    """Why to go back: one word, and a sentence. None while nothing has failed."""
    observed = builder.observation.workloads.get(stable.revision)
    if observed is None or not observed.ready:
        crash = observed.crash_message if observed else ""
        why = crash or (observed.waiting_reason if observed else "its Deployment is gone")
        return "Crash" if crash else "NotReady", f"no pod is ready: {why}".rstrip(": ")
    judgement = builder.observation.watch_judgement
    if judgement is None or judgement.verdict is not Verdict.FAIL:
        return None
    return explain_failure(builder, judgement)


def _begin_again(builder: DecisionBuilder, previous: RevisionRef, promoted: RevisionRef, why: str) -> Decision:
    """Its pods were lost, which is no fault of the version: it takes all steps again when they are back."""
    builder.update_status(
        stable=previous, canary=promoted, control=control_of(builder, previous, promoted), watch=None, analysis=None
    )
    enter_stage(builder, Stage.PROGRESSING)
    retreat(
        builder,
        started_at=builder.now,
        attempt=next_attempt(builder, promoted),
        pod_losses=1,
        unready_since=builder.now,
    )
    message = (
        f"back to version {previous.version}. Version {promoted.version} after its promotion: {why}. It begins again"
    )
    builder.add_event("WentBack", message, warning=True)
    return builder.build("PodsLost", message)


def _go_back(
    builder: DecisionBuilder, previous: RevisionRef, promoted: RevisionRef, reason: str, explanation: str
) -> Decision:
    """From here on it is a rollback like any other, with the promoted version as the canary."""
    builder.update_status(stable=previous, canary=promoted, watch=None)
    message = f"version {promoted.version} after its promotion: {explanation}"
    builder.add_event("WentBack", f"back to version {previous.version}. {message}", warning=True)
    return begin_rollback(builder, Outcome.ROLLED_BACK, reason, message)
