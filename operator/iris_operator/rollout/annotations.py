"""The annotations `promote`, `abort` and `approved`: what a person asks for, obeyed or refused once, and answered.

The rule: a value names the revision of the rollout in progress, and acts once. Without an attempt it is for the first
one, and for a later one if it was written (by the managed fields) after that began. In any other case nothing is done,
and one event says what would be the right value. A value that is removed and written again is a new one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from iris_operator.api import names
from iris_operator.api.spec import Step
from iris_operator.api.status import Outcome, RevisionRef, Shortcut, Stage
from iris_operator.rollout.builder import DecisionBuilder, steps_of
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.observation import Annotation
from iris_operator.rollout.rolling_back import begin_rollback

_REVISION = re.compile(r"(?P<revision>[0-9a-f]+)(/(?P<attempt>[0-9]{1,6}))?")
_APPROVAL = re.compile(
    r"(?P<revision>[0-9a-f]+)/(?P<step>[0-9]{1,3})(@(?P<content>(shadow)?[0-9]{1,3}))?(/(?P<attempt>[0-9]{1,6}))?"
)


def answer_annotations(builder: DecisionBuilder) -> Decision | None:
    """Obey or refuse what has not been answered yet. A decision only where the rollout ends."""
    found = builder.observation.annotations
    known = {name: value for name, value in builder.status.rollout.answered.items() if name in found}
    if builder.status.rollout.stage is Stage.INITIALIZING:
        # There is no rollout yet: what is written there is from before, as after the status was lost.
        known = {name: found[name].value for name in _ANSWERS if name in found}
    builder.update_rollout(answered=known)
    for name, answer in _ANSWERS.items():
        annotation = found.get(name)
        if annotation is None or builder.status.rollout.answered.get(name) == annotation.value:
            continue
        decision = answer(builder, annotation)
        if decision:
            return decision
    return None


def who(annotation: Annotation) -> str:
    """` by kubectl-annotate`; empty when the managed fields do not say."""
    return f" by {annotation.manager}" if annotation.manager else ""


def attempt_suffix(builder: DecisionBuilder) -> str:
    """What a value has at its end in a later attempt than the first."""
    attempt = builder.status.rollout.attempt
    return f"/{attempt}" if attempt > 1 else ""


def step_content(step: Step) -> str:
    """What is approved with a step: its weight, or its shadow."""
    return f"shadow{step.shadow}" if step.shadow else str(step.weight)


def approval_of(canary: RevisionRef, number: int, step: Step) -> str:
    """The approval that a step needs; `number` counts from 1."""
    return f"{canary.revision}/{number}@{step_content(step)}"


def _promote(builder: DecisionBuilder, annotation: Annotation) -> Decision | None:
    name, canary = names.ANNOTATION_PROMOTE, _rollout_of(builder, names.ANNOTATION_PROMOTE, annotation, _REVISION)
    if canary is None:
        return None
    _remember(builder, name, annotation)
    if builder.status.rollout.stage is Stage.PROGRESSING:
        builder.update_rollout(shortcut=Shortcut.PROMOTE)
    waits = "; it waits, since spec.paused is true" if builder.spec.paused else ""
    message = f"version {canary.version}: the remaining steps are left out{waits}; asked for{who(annotation)}"
    builder.add_event("PromoteRequested", message)
    return None


def _abort(builder: DecisionBuilder, annotation: Annotation) -> Decision | None:
    name, canary = names.ANNOTATION_ABORT, _rollout_of(builder, names.ANNOTATION_ABORT, annotation, _REVISION)
    if canary is None:
        return None
    _remember(builder, name, annotation)
    message = f"version {canary.version}: aborted{who(annotation)} with the annotation {name}"
    return begin_rollback(builder, Outcome.ROLLED_BACK, "Aborted", message)


def _approve(builder: DecisionBuilder, annotation: Annotation) -> Decision | None:
    name, canary = names.ANNOTATION_APPROVED, _rollout_of(builder, names.ANNOTATION_APPROVED, annotation, _APPROVAL)
    parsed = _APPROVAL.fullmatch(annotation.value.strip())
    if canary is None or parsed is None:
        return None
    steps, number = steps_of(builder.spec), int(parsed["step"])
    if number <= builder.status.step.index:
        _remember(builder, name, annotation)  # an approval that was used
        return None
    if not 0 < number <= len(steps):
        _refuse(builder, name, annotation, f"the rollout has {len(steps)} steps")
        return None
    approval = approval_of(canary, number, steps[number - 1])
    asked = builder.status.rollout.approval_asked
    shown = asked if asked.startswith(f"{canary.revision}/{number}@") else approval
    meant = f"{canary.revision}/{number}@{parsed['content']}" if parsed["content"] else shown
    if meant != approval:
        why = f"step {number} was edited; this approves it as it is now: {approval}{attempt_suffix(builder)}"
        _refuse(builder, name, annotation, why)
        return None
    _remember(builder, name, annotation)
    builder.update_rollout(approved=approval)
    builder.add_event(
        "Approved", f"step {number} of version {canary.version} was approved as {approval}{who(annotation)}"
    )
    return None


_ANSWERS: Mapping[str, Callable[[DecisionBuilder, Annotation], Decision | None]] = {
    names.ANNOTATION_ABORT: _abort,
    names.ANNOTATION_PROMOTE: _promote,
    names.ANNOTATION_APPROVED: _approve,
}
_FORMATS: Mapping[str, str] = {
    names.ANNOTATION_ABORT: "REVISION or REVISION/ATTEMPT",
    names.ANNOTATION_PROMOTE: "REVISION or REVISION/ATTEMPT",
    names.ANNOTATION_APPROVED: "REVISION/STEP@WEIGHT or REVISION/STEP@WEIGHT/ATTEMPT",
}


def _rollout_of(
    builder: DecisionBuilder, name: str, annotation: Annotation, pattern: re.Pattern[str]
) -> RevisionRef | None:
    """The canary that the value names; None, with an answer where there is one, when it names another rollout."""
    parsed = pattern.fullmatch(annotation.value.strip())
    if parsed is None:
        _refuse(builder, name, annotation, f"write {_FORMATS[name]}")
        return None
    revision, status, target = parsed["revision"], builder.status, builder.observation.target
    in_progress = status.rollout.stage in (Stage.PROGRESSING, Stage.PROMOTING)
    if not in_progress and revision == target.revision and _starts_soon(builder):
        return None
    canary = status.canary if in_progress else None
    if canary is None or revision != canary.revision:
        rollout = (
            f"the rollout is of revision {canary.revision}" if canary else f"no rollout of {revision} is in progress"
        )
        _refuse(builder, name, annotation, rollout)
        return None
    attempt = int(parsed["attempt"]) if parsed["attempt"] else None
    if attempt != status.rollout.attempt and not (attempt is None and _of_this_attempt(builder, annotation)):
        suffix = (
            f"; with {attempt_suffix(builder)} at its end the value is for this one" if attempt_suffix(builder) else ""
        )
        _refuse(builder, name, annotation, f"this is attempt {status.rollout.attempt} of revision {revision}{suffix}")
        return None
    return canary


def _starts_soon(builder: DecisionBuilder) -> bool:
    """Does the rollout that the spec asks for begin by itself?"""
    stable, rejected, target = builder.status.stable, builder.status.rejected, builder.observation.target
    if rejected and rejected.revision == target.revision:
        return False
    return stable is None or stable.revision != target.revision


def _of_this_attempt(builder: DecisionBuilder, annotation: Annotation) -> bool:
    rollout = builder.status.rollout
    if rollout.attempt == 1:
        return True
    if annotation.written_at is None or rollout.started_at is None:
        return False
    # The managed fields have whole seconds.
    return annotation.written_at >= rollout.started_at.replace(microsecond=0)


def _remember(builder: DecisionBuilder, name: str, annotation: Annotation) -> None:
    builder.update_rollout(answered={**builder.status.rollout.answered, name: annotation.value})


def _refuse(builder: DecisionBuilder, name: str, annotation: Annotation, why: str) -> None:
    _remember(builder, name, annotation)
    builder.add_event(
        "AnnotationIgnored", f"{name}: {annotation.value!r}{who(annotation)} does nothing: {why}", warning=True
    )
