"""Labels that arrive later: F9. F1 on wrong answers and the paired mixture to roll back, F3 to promote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, MetricUpdate, RevisionArrays, State
from iris_operator.analysis.evidence.dispersion import Dispersion, dispersion_factor
from iris_operator.analysis.evidence.logspace import Bools, quantize
from iris_operator.analysis.evidence.margin import log_difference_below
from iris_operator.analysis.evidence.paired import log_paired
from iris_operator.analysis.metrics.margins import decisive
from iris_operator.analysis.metrics.rare import WRONG_ANSWER_WEIGHTS, EventCounts, RareEvents

# Prior of stable's share of wrong answers: one in ten, with the weight of ten labels.
_PRIOR_WRONG, _PRIOR_LABELS = 1.0, 10.0
# So many wrong answers and no right one: only errors are reported.
_MIN_REPORTED = 10.0


class WrongAnswers:
    """How much more often is the canary wrong? Stratified by interval: answers of both versions at the same time."""

    def __init__(self, max_drop: float, *, paired: bool) -> None:
        """`max_drop` is the loss of accuracy that promotion must exclude, as a fraction.

        `paired` is fixed before the first label: both versions answer the same requests, and the pairs have half the
        weight.
        """
        self._max_drop = max_drop
        self._paired = paired
        self._wrong = RareEvents(_events, 2.0, 0.5, WRONG_ANSWER_WEIGHTS)

    def initial_state(self, releases: int) -> State:
        """See `Metric.initial_state`."""
        zero = np.zeros(releases)
        return {
            **self._wrong.initial_state(releases),
            "step": zero,
            "whole": zero,
            "pairs": np.zeros((releases, 2)),
            "outcomes": np.zeros((releases, 2)),
        }

    def update(self, state: State, arrays: IntervalArrays) -> MetricUpdate:
        """See `Metric.update`."""
        # Of the control group alone: its predictions are as old as the canary's, whichever labels come late.
        everything = arrays
        arrays = replace(arrays, stable=arrays.arm, stable_pods=arrays.arm_pods, control=None, control_pods=None)
        outcomes = state["outcomes"] + _outcomes(arrays)
        arrays = _per_request_where_only_errors_are_reported(state, arrays)
        after, evidence = yield from self._wrong.update(state, arrays)
        canary, stable = _events(arrays.canary), _events(arrays.stable)
        if canary is None or stable is None:
            return state, evidence
        theta = (state["xs"] + _PRIOR_WRONG) / (state["ns"] + _PRIOR_LABELS)
        dispersion = Dispersion(after["squares"], after["freedom"], after["exposure"])
        phi = dispersion_factor(dispersion, arrays.load_ratio)[:, 0]
        counted = (canary.total > 0) & (stable.total > 0)
        log_e = [
            log_difference_below(
                canary.events, canary.total, stable.events, stable.total, (theta, theta), np.minimum(drop, 1 - 1e-9)
            )
            / phi
            for drop in (self._max_drop / arrays.next_share, np.asarray(self._max_drop))
        ]
        before = np.where(arrays.step_changed, 0.0, state["step"])
        step = np.where(counted, quantize(before + log_e[0]), before)
        rollout = np.where(counted, quantize(state["whole"] + log_e[1]), state["whole"])
        pairs = state["pairs"] if arrays.pairs is None else state["pairs"] + arrays.pairs
        regression = evidence.regression
        if self._paired:
            regression = np.logaddexp(regression, _paired(pairs)) - np.log(2.0)
        new_state: Mapping[str, np.ndarray] = {
            **after, "step": step, "whole": rollout, "pairs": pairs, "outcomes": outcomes
        }  # fmt: skip
        return new_state, LogEvidence(regression, decisive(step, rollout, everything))


def reports_only_errors(state: State) -> Bools:
    """Have there been enough labels to see that nobody reports a right answer? Then each request is one."""
    correct, incorrect = state["outcomes"].T
    return np.asarray((correct == 0) & (incorrect >= _MIN_REPORTED))


def _outcomes(arrays: IntervalArrays) -> np.ndarray:
    """Right and wrong answers of both versions in this interval, as columns."""
    pairs = [(each.labelled, each.wrong) for each in (arrays.canary, arrays.stable)]
    known = [(labelled, wrong) for labelled, wrong in pairs if labelled is not None and wrong is not None]
    none = np.zeros(len(arrays.step_changed))
    right, wrong = sum((labelled - wrong for labelled, wrong in known), none), sum((wrong for _, wrong in known), none)
    return np.stack([right, wrong], axis=1)


def _per_request_where_only_errors_are_reported(state: State, arrays: IntervalArrays) -> IntervalArrays:
    """The interval with all requests as labelled ones, for releases whose labels call every answer wrong."""
    only_errors = reports_only_errors(state)
    if not only_errors.any():
        return arrays

    def counted(of: RevisionArrays) -> RevisionArrays:
        return of if of.labelled is None else of._replace(labelled=np.where(only_errors, of.requests, of.labelled))

    return replace(arrays, canary=counted(arrays.canary), stable=counted(arrays.stable))


def _paired(pairs: np.ndarray) -> np.ndarray:
    return np.array([log_paired(int(only_stable), int(only_canary)) for only_stable, only_canary in pairs])


def _events(revision: RevisionArrays) -> EventCounts | None:
    return (
        None if revision.labelled is None or revision.wrong is None else EventCounts(revision.wrong, revision.labelled)
    )
