"""One interval as arrays: the first axis runs over releases, so that one release and a thousand use the same code."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats

State = Mapping[str, Floats]
"""The state of a metric as named arrays; the first axis of each runs over releases."""


class RevisionArrays(NamedTuple):
    """Counts of one revision, or of its pods (then the pods run along axis 1). None: not measured at all.

    `bins` are requests by duration, one more than there are bounds; `tiers` are the same requests by the cache's tier
    that answered, a row for each and a last one for the model's answers. `classes` are predictions by class.
    """

    requests: Floats
    errors: Floats
    refused: Floats | None = None
    """Answered with a 4xx code."""
    failures: Floats | None = None
    bins: Floats | None = None
    tiers: Floats | None = None
    classes: Floats | None = None
    labelled: Floats | None = None
    wrong: Floats | None = None


# Of the logarithm of the mean duration, between pods of one version, as it usually is: measured were 3 to 10 %.
POD_VARIANCE = 0.06**2


class MeanDurations(NamedTuple):
    """The durations of canary and control group in one interval, by release; see `metrics/mean_duration.py`.

    `totals` has as columns the seconds and the requests of the canary, then those of the control group. `dispersion`
    is the squared coefficient of variation of single requests. `spread` has the squares of the differences between pods
    of one group and their degrees of freedom, as columns, in units of what requests with this dispersion and pods that
    vary by `POD_VARIANCE` would bring.
    """

    totals: Floats
    dispersion: Floats
    spread: Floats


@dataclass(frozen=True)
class IntervalArrays:
    """One interval of both revisions.

    `pods` are stable's, for the dispersion between them; `canary_pods` and `stable_pods` are the numbers of pods.
    `next_share` is the fraction of the traffic that the canary would get next. `step_changed` marks the first interval
    of a step; `incident` one in which stable itself was in trouble.
    """

    canary: RevisionArrays
    stable: RevisionArrays
    pods: RevisionArrays | None
    canary_pods: Floats
    stable_pods: Floats
    next_share: Floats
    step_changed: Bools
    control: RevisionArrays | None = None
    """The control group, which `stable` contains; None without one."""
    control_pods: Floats | None = None
    means: MeanDurations | None = None
    """None where the durations' sums are not measured."""
    accept_shift: Bools | None = None
    """The trouble that both have had for long is what is normal now."""
    incident: Bools | None = None
    error_limit: Floats | None = None
    """The share of failed requests from which stable is in trouble."""
    shared: Bools | None = None
    """In which both were in trouble."""
    pairs: Floats | None = None
    """Requests that both versions answered and only one got right: columns (only stable, only canary)."""

    @property
    def arm(self) -> RevisionArrays:
        """What the canary's pods are compared with: the control group, else all of stable."""
        return self.stable if self.control is None else self.control

    @property
    def arm_pods(self) -> Floats:
        """Its number of pods."""
        return self.stable_pods if self.control_pods is None else self.control_pods

    @property
    def single(self) -> Bools:
        """Is there a single pod in production? Then no pods of its age beside it show how pods differ."""
        control_pods = 0.0 if self.control_pods is None else self.control_pods
        return np.asarray(self.stable_pods - control_pods <= 1.0)

    @cached_property
    def production(self) -> RevisionArrays:
        """Stable without the control group; of what incidents need."""
        if self.control is None:
            return self.stable
        bins = None
        if self.stable.bins is not None and self.control.bins is not None:
            bins = np.maximum(self.stable.bins - self.control.bins, 0.0)
        return RevisionArrays(
            np.maximum(self.stable.requests - self.control.requests, 0.0),
            np.maximum(self.stable.errors - self.control.errors, 0.0),
            bins=bins,
        )

    @cached_property
    def load_ratio(self) -> Floats:
        """Requests per pod: the canary's over stable's."""
        of_canary = self.canary.requests / np.maximum(self.canary_pods, 1.0)
        of_stable = self.stable.requests / np.maximum(self.stable_pods, 1.0)
        return np.asarray(of_canary / np.maximum(of_stable, 1e-9))

    @cached_property
    def target_shares(self) -> Floats:
        """The shares that margins are divided by, one per column: the next one, and all of the traffic."""
        columns = np.ones((len(self.next_share), 2))
        columns[:, 0] = self.next_share
        return columns


class LogEvidence(NamedTuple):
    """Logarithms of one metric's e-values: E_m that the canary is worse, and G that it is good enough."""

    regression: Floats
    noninferiority: Floats


def no_evidence(arrays: IntervalArrays) -> LogEvidence:
    """Of a metric that was not measured: an e-value of 1 that the canary is worse, and of 0 that it is good enough."""
    nothing = np.zeros(len(arrays.step_changed))
    return LogEvidence(nothing, nothing - np.inf)


MetricUpdate = Generator[Any, Any, tuple[State, LogEvidence]]
"""Generator of one update; it yields the computations of `metrics/batching.py` and returns its new state."""


class Metric(Protocol):
    """The evidence of one metric. Pure: the same state and arrays give the same evidence."""

    def initial_state(self, releases: int) -> State:
        """The state before the first interval."""
        ...

    def update(self, state: State, arrays: IntervalArrays) -> MetricUpdate:
        """The state and the evidence after one more interval."""
        ...


def stack(intervals: Sequence[IntervalArrays]) -> IntervalArrays:
    """One interval of several releases with the same measurements, bounds and classes.

    Releases with fewer pods are padded with pods without requests.
    """
    first = intervals[0]
    pods = [each.pods for each in intervals if each.pods is not None]
    most_pods = max((revision.requests.shape[1] for revision in pods), default=0)
    return IntervalArrays(
        canary=_stack_revisions([each.canary for each in intervals]),
        stable=_stack_revisions([each.stable for each in intervals]),
        pods=_stack_revisions([_padded(each.pods, pods[0], most_pods) for each in intervals]) if pods else None,
        canary_pods=np.concatenate([each.canary_pods for each in intervals]),
        stable_pods=np.concatenate([each.stable_pods for each in intervals]),
        next_share=np.concatenate([each.next_share for each in intervals]),
        step_changed=np.concatenate([each.step_changed for each in intervals]),
        control=None if first.control is None else _stack_revisions([each.arm for each in intervals]),
        control_pods=None if first.control is None else np.concatenate([each.arm_pods for each in intervals]),
        means=None
        if first.means is None
        else MeanDurations(
            *map(np.concatenate, zip(*[each.means for each in intervals if each.means is not None], strict=True))
        ),
        error_limit=None
        if first.error_limit is None
        else np.concatenate([each.error_limit for each in intervals if each.error_limit is not None]),
        accept_shift=None
        if first.accept_shift is None
        else np.concatenate([each.accept_shift for each in intervals if each.accept_shift is not None]),
        pairs=None
        if first.pairs is None
        else np.concatenate([each.pairs for each in intervals if each.pairs is not None]),
    )


def _stack_revisions(revisions: Sequence[RevisionArrays]) -> RevisionArrays:
    """A count that one of them lacks is None."""
    columns = [
        None
        if any(value is None for value in values)
        else np.concatenate([value for value in values if value is not None])
        for values in zip(*revisions, strict=True)
    ]
    requests, errors, *others = columns
    assert requests is not None and errors is not None, "every revision has them"  # noqa: S101, PT018 - by their type
    return RevisionArrays(requests, errors, *others)


def _padded(pods: RevisionArrays | None, like: RevisionArrays, most_pods: int) -> RevisionArrays:
    """Pods along axis 1, with further ones without requests; `like` has the counts and the shapes."""

    def pad(value: Floats | None, shape: Floats | None) -> Floats | None:
        if shape is None or (pods is not None and value is None):
            return None
        padded = np.zeros((1, most_pods, *shape.shape[2:]))
        if value is not None:
            padded[:, : value.shape[1]] = value
        return padded

    values = RevisionArrays(like.requests[:, :0], like.errors[:, :0]) if pods is None else pods
    requests, errors, *others = map(pad, values, like)
    assert requests is not None and errors is not None, "every revision has them"  # noqa: S101, PT018 - by their type
    return RevisionArrays(requests, errors, *others)
