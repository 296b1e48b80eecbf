"""Memory that is missing or older than the cluster: what serves is adopted as stable, and a rollout starts over.

The status was lost (deleted with `--cascade=orphan`, restored from a backup), parts of it were removed by hand, or an
older one was restored. What the stable Service selects and is ready is stable, whatever the status says.
"""

from __future__ import annotations

from iris_operator.api import names
from iris_operator.api.status import Outcome, RevisionRef, Stage, StepStatus
from iris_operator.rollout.builder import POLL_SECONDS, DecisionBuilder, add_to_history, enter_stage
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.drift_repair import ensure_service
from iris_operator.rollout.observation import Workload
from iris_operator.rollout.rolling_back import begin_rollback

# Annotations whose value acts once.
_ACTS_ONCE = {names.ANNOTATION_PROMOTE, names.ANNOTATION_ABORT, names.ANNOTATION_APPROVED}
_WITH_CANARY = {Stage.PROGRESSING, Stage.PROMOTING, Stage.ROLLING_BACK}
# Of several revisions with ready pods: one that has served is preferred to one that was never judged to the end.
_BY_ROLE = ("stable", "retired", "canary")


def adopt(builder: DecisionBuilder) -> Decision | None:
    """Rebuild what the stage needs and the status lacks.

    None when the stage can go on: nothing was missing, it could be filled in, or nothing serves at all; the release is
    then deployed like a first version.
    """
    if _is_complete(builder) or _fill_in(builder):
        return None
    found = _serving(builder)
    if found is None:
        if builder.status.rollout.stage is not Stage.INITIALIZING:
            _start_from_nothing(builder)
        return None
    if not builder.observation.stable.serves(found.revision):
        ensure_service(builder, "stable", found.revision)
        return _let_it_serve(builder, found)
    return _adopt(builder, found)


def _is_complete(builder: DecisionBuilder) -> bool:
    status, stage = builder.status, builder.status.rollout.stage
    if stage is Stage.INITIALIZING or status.stable is None or (stage in _WITH_CANARY and status.canary is None):
        return False
    return stage is not Stage.IDLE or not _is_older(builder, status.stable)


def _is_older(builder: DecisionBuilder, stable: RevisionRef) -> bool:
    """Does the stable Service lead to another revision that is ready, while this one is not?"""
    selected = _selected(builder)
    return selected is not None and selected.ref.revision != stable.revision and not _ready(builder, stable.revision)


def _fill_in(builder: DecisionBuilder) -> bool:
    """Fill in what follows from the cluster, so that a version that failed, or has passed, stays known as such."""
    status, stage = builder.status, builder.status.rollout.stage
    if stage is Stage.ROLLING_BACK and status.stable is None and status.canary:
        found = _most_trusted(builder, but=status.canary.revision)
        if found:
            builder.update_status(stable=found.ref)
        return found is not None
    if stage is Stage.ROLLING_BACK and status.stable and status.canary is None:
        return _fill_in_canary(builder, _withdrawn_canary(builder, status.stable))
    if stage is Stage.PROMOTING and status.stable and status.canary is None:
        selected = _selected(builder)
        switched = selected is not None and selected.ref.revision != status.stable.revision
        return _fill_in_canary(builder, selected.ref if selected and switched else None)
    return False


def _fill_in_canary(builder: DecisionBuilder, canary: RevisionRef | None) -> bool:
    if canary:
        builder.update_status(canary=canary)
    return canary is not None


def _withdrawn_canary(builder: DecisionBuilder, stable: RevisionRef) -> RevisionRef | None:
    found = [each.ref for each in builder.observation.workloads.values() if each.role == "canary"]
    others = [ref for ref in (*found, builder.observation.target) if ref.revision != stable.revision]
    return others[0] if others else None


def _serving(builder: DecisionBuilder) -> RevisionRef | None:
    """The revision that is to be stable; None when there is nothing to adopt."""
    rollout, known, selected = builder.status.rollout, builder.status.stable, _selected(builder)
    first_deployment = rollout.stage is Stage.INITIALIZING and rollout.started_at is not None
    if known and _ready(builder, known.revision):
        return known
    if selected:
        is_target = selected.ref.revision == builder.observation.target.revision
        return None if first_deployment and is_target else selected.ref
    if first_deployment:
        return None
    found = _most_trusted(builder)
    return found.ref if found else None


def _selected(builder: DecisionBuilder) -> Workload | None:
    """The revision that the stable Service leads to, if it has ready endpoints."""
    backend = builder.observation.stable
    found = builder.observation.workloads.get(backend.selects or "")
    return found if found and backend.serves(found.ref.revision) else None


def _most_trusted(builder: DecisionBuilder, but: str = "") -> Workload | None:
    """Of the revisions with ready pods the one whose role says most; the history tells nothing about them."""
    ready = [each for each in builder.observation.workloads.values() if each.ready and each.ref.revision != but]
    ranks = {role: at for at, role in enumerate(_BY_ROLE)}
    return min(
        ready,
        key=lambda each: (ranks.get(each.role, len(ranks)), -each.ready, each.ref.revision),
        default=None,
    )


def _ready(builder: DecisionBuilder, revision: str) -> bool:
    found = builder.observation.workloads.get(revision)
    return found is not None and found.ready > 0


def _start_from_nothing(builder: DecisionBuilder) -> None:
    builder.update_status(stable=None, canary=None, control=None, watch=None, step=StepStatus())
    enter_stage(builder, Stage.INITIALIZING)
    builder.update_rollout(started_at=None)


def _let_it_serve(builder: DecisionBuilder, found: RevisionRef) -> Decision:
    """Nothing behind the stable Service is ready: it is led to what is, before any weight is taken from there."""
    selects = builder.observation.stable.selects
    message = f"version {found.version} (revision {found.revision}) has ready pods and serves from now on"
    if selects and selects != found.revision:
        message = f"revision {selects}, which the stable Service selects, has no ready pod; {message}"
    if builder.actions:
        builder.add_event("Adopting", message, warning=True)
    builder.requeue_after(POLL_SECONDS)
    return builder.build("Adopting", message)


def _adopt(builder: DecisionBuilder, found: RevisionRef) -> Decision:
    message = f"version {found.version} (revision {found.revision}) serves, and is stable from now on: "
    message += "the status did not say so"
    canary = _canary_with_traffic(builder, found)
    builder.update_status(
        stable=found,
        canary=canary,
        control=None,
        watch=None,
        analysis=None,
        step=StepStatus(index=0, count=builder.status.step.count),
    )
    rejected = builder.status.rejected
    if rejected and rejected.revision == found.revision:
        builder.update_status(rejected=None)
    # What was asked for long ago is not asked for again.
    asked = {name: each.value for name, each in builder.observation.annotations.items()}
    answered = {name: value for name, value in asked.items() if name in _ACTS_ONCE}
    builder.update_rollout(observed_retry=asked.get(names.ANNOTATION_RETRY), answered=answered)
    builder.requeue_after(0)
    if canary:
        # Withdrawn and drained like any other, and then it starts over.
        return begin_rollback(
            builder, Outcome.SUPERSEDED, "Adopted", f"{message}. Version {canary.version} starts from the beginning"
        )
    newest = builder.status.history[0] if builder.status.history else None
    if newest is None or (newest.revision, newest.outcome) != (found.revision, Outcome.PROMOTED):
        add_to_history(builder, found, Outcome.PROMOTED, "adopted: it served when the status was lost")
    enter_stage(builder, Stage.IDLE)
    builder.add_event("Adopted", message)
    return builder.build("Adopted", message)


def _canary_with_traffic(builder: DecisionBuilder, stable: RevisionRef) -> RevisionRef | None:
    """What the route gives a share of the requests, besides stable."""
    backend = builder.observation.canary
    found = builder.observation.workloads.get(backend.selects or "")
    if found is None or found.ref.revision == stable.revision or builder.observation.route.weight == 0:
        return None
    return found.ref
