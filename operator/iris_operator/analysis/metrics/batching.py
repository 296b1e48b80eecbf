"""The computations that metrics have in common, batched: one call of NumPy for all metrics instead of one for each.

With few releases the number of arrays takes time and not their size. So the update of every metric is a generator that
is written as if it were alone and yields the computations that it needs; those of the same type are evaluated together
on the concatenated arrays of all metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, Metric, State
from iris_operator.analysis.evidence.changepoint import (
    ChangepointMixture,
    MixtureUpdate,
    log_mixture_e_values,
    update_mixtures,
)
from iris_operator.analysis.evidence.dispersion import (
    Dispersion,
    add_pods,
    beta_concentration,
    dispersion_factor,
    squared_variation,
)
from iris_operator.analysis.evidence.logspace import Bools, Floats, log_sum
from iris_operator.analysis.evidence.margin import log_share_difference
from iris_operator.analysis.evidence.noninferiority import GOOD_RATIO_WEIGHTS, log_below_bound, log_noninferiority
from iris_operator.analysis.evidence.ratio import log_overdispersed_ratio

_Result = TypeVar("_Result")
_Computation = Generator[Any, Any, _Result]


class DispersionComputation(NamedTuple):
    """The dispersion of each kind of event between stable's pods.

    `events` are by release, pod and kind, `requests` by release and pod; None where the pods were not measured.
    `counted` is by release.
    """

    before: Dispersion
    events: Floats | None
    requests: Floats | None
    counted: Bools

    def evaluate(self) -> _Computation[DispersionResult]:
        """The dispersion including this interval."""
        result: DispersionResult = yield self
        return result


class DispersionResult(NamedTuple):
    """By kind of event: the dispersion, phi, by which log evidence is divided, and the squared variation."""

    dispersion: Dispersion
    phi: Floats
    variation: Floats


class ShareDifferenceComputation(NamedTuple):
    """E-values of differences of shares, by release and alternative; see `log_share_difference`."""

    columns: Floats
    """The arguments of `log_share_difference` along the first axis; see `bet_columns`."""
    directions: Floats
    """By alternative."""

    def evaluate(self) -> _Computation[Floats]:
        """Logarithms of e-values by release and alternative."""
        log_e: Floats = yield self
        return log_e


class RateRatioComputation(NamedTuple):
    """E-values of ratios of rates; see `log_overdispersed_ratio`.

    `counts` are events and requests of the canary, then those of stable, by release; `variation` is the squared
    variation of the events between pods, `pods` the number of pods that the canary's are compared with. `omegas` and
    `rhos` are by alternative.
    """

    counts: Sequence[Floats]
    variation: Floats
    omegas: Floats
    rhos: Floats
    pods: Floats

    def evaluate(self) -> _Computation[Floats]:
        """Logarithms of e-values by release and alternative."""
        log_e: Floats = yield self
        return log_e


class MixtureComputation(NamedTuple):
    """The mixture after this interval and its e-value; `weights` are those of its components."""

    update: MixtureUpdate
    weights: Floats

    def evaluate(self) -> _Computation[tuple[ChangepointMixture, Floats]]:
        """The mixture after this interval, and the logarithm of its e-value by release."""
        result: tuple[ChangepointMixture, Floats] = yield self
        return result


class NoninferiorityComputation(NamedTuple):
    """Evidence that a rate is below the tolerated one; see `log_noninferiority`.

    `by_ratio` are logarithms of e-values by release and effect, `counts` the canary's events and requests, the bound of
    their rate, and phi.
    """

    by_ratio: Floats
    counts: Sequence[Floats]

    def evaluate(self) -> _Computation[Floats]:
        """The logarithm of the e-value by release."""
        log_e: Floats = yield self
        return log_e


def update_together(
    metrics: Sequence[Metric], states: Sequence[State], arrays: IntervalArrays
) -> list[tuple[State, LogEvidence]]:
    """Update all metrics with one interval, evaluating the computations of the same type together."""
    updates = [metric.update(state, arrays) for metric, state in zip(metrics, states, strict=True)]
    done: dict[int, tuple[State, LogEvidence]] = {}
    pending: dict[int, Any] = {}

    def resume(at: int, result: Any) -> None:
        try:
            pending[at] = updates[at].send(result)
        except StopIteration as end:
            done[at] = end.value

    for at in range(len(updates)):
        resume(at, None)
    while pending:
        # In the order of `_EVALUATORS`: updates that are behind go first, so that all of them meet at the next type.
        kind = next(kind for kind in _EVALUATORS if kind in map(type, pending.values()))
        batch = [at for at, computation in pending.items() if type(computation) is kind]
        results = _EVALUATORS[kind](arrays, [pending.pop(at) for at in batch])
        for at, result in zip(batch, results, strict=True):
            resume(at, result)
    return [done[at] for at in range(len(updates))]


def _evaluate_dispersion(arrays: IntervalArrays, batch: Sequence[DispersionComputation]) -> list[DispersionResult]:
    sizes = [each.before.squares.shape[1] for each in batch]
    dispersion = Dispersion(*map(_concatenated, zip(*[each.before for each in batch], strict=True)))
    pods = [each.requests.shape[1] for each in batch if each.requests is not None]
    if pods:
        # Pods without requests do not change the dispersion.
        events = np.zeros((len(dispersion.squares), pods[0], sum(sizes)))
        requests = np.zeros(events.shape)
        counted = np.zeros(dispersion.squares.shape, dtype=np.bool_)
        for each, part in zip(batch, _slices(sizes), strict=True):
            if each.events is not None and each.requests is not None:
                events[..., part], requests[..., part] = each.events, each.requests[..., None]
                counted[:, part] = each.counted[:, None]
        dispersion = add_pods(dispersion, events, requests, counted)
    phi, variation = (
        dispersion_factor(dispersion, arrays.load_ratio),
        # A single pod is compared with itself an interval before, the control group's with it: all of them twice.
        squared_variation(dispersion, np.where(arrays.single, 2.0, 1.0)[:, None] * arrays.stable_pods[:, None]),
    )
    return [
        DispersionResult(Dispersion(*[value[:, part] for value in dispersion]), phi[:, part], variation[:, part])
        for part in _slices(sizes)
    ]


def _evaluate_share_differences(_arrays: IntervalArrays, batch: Sequence[ShareDifferenceComputation]) -> list[Floats]:
    x_c, n_c, x_s, n_s, theta_c, theta_s, delta = np.concatenate([each.columns for each in batch], axis=2)
    directions = np.concatenate([each.directions for each in batch])
    return _split(
        log_share_difference(x_c, n_c, x_s, n_s, (theta_c, theta_s), delta, directions),
        [len(each.directions) for each in batch],
    )


def _evaluate_rate_ratios(arrays: IntervalArrays, batch: Sequence[RateRatioComputation]) -> list[Floats]:
    sizes = [len(each.omegas) for each in batch]
    # Metrics run along the first axis, and after the repetition alternatives do, one per column.
    x_c, n_c, x_s, n_s, variation, pods = np.array(
        [(*each.counts, each.variation, each.pods) for each in batch]
    ).swapaxes(0, 1)
    concentration = beta_concentration(variation, n_c, n_s, arrays.canary_pods, pods)
    x_c, n_c, x_s, n_s, concentration = np.repeat(
        np.array([x_c, n_c, x_s, n_s, concentration]), sizes, axis=1
    ).swapaxes(1, 2)
    omegas, rhos = np.concatenate([each.omegas for each in batch]), np.concatenate([each.rhos for each in batch])
    return _split(log_overdispersed_ratio(x_c, n_c, x_s, n_s, omegas, rhos, concentration), sizes)


def _evaluate_mixtures(
    arrays: IntervalArrays, batch: Sequence[MixtureComputation]
) -> list[tuple[ChangepointMixture, Floats]]:
    after = update_mixtures([each.update for each in batch], arrays.step_changed)
    return list(zip(after, log_mixture_e_values(after, [each.weights for each in batch]), strict=True))


def _evaluate_noninferiority(_arrays: IntervalArrays, batch: Sequence[NoninferiorityComputation]) -> list[Floats]:
    """Metrics run along the first axis."""
    events, requests, bound, phi = np.array([each.counts for each in batch]).swapaxes(0, 1)
    by_ratio = log_sum(np.array([each.by_ratio for each in batch]), GOOD_RATIO_WEIGHTS)
    return [*log_noninferiority(by_ratio, log_below_bound(events, requests, bound) / phi)]


def _concatenated(values: Sequence[Floats]) -> Floats:
    return np.concatenate(values, axis=1)


def _slices(sizes: Sequence[int]) -> list[slice]:
    return [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]


def _split(values: Floats, sizes: Sequence[int]) -> list[Floats]:
    return [values[:, part] for part in _slices(sizes)]


_EVALUATORS: dict[type, Callable[[IntervalArrays, Any], list[Any]]] = {
    DispersionComputation: _evaluate_dispersion,
    ShareDifferenceComputation: _evaluate_share_differences,
    RateRatioComputation: _evaluate_rate_ratios,
    MixtureComputation: _evaluate_mixtures,
    NoninferiorityComputation: _evaluate_noninferiority,
}
