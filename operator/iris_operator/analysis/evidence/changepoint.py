"""F5: a mixture over effects and over the changepoints at which an effect may have begun."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iris_operator.analysis.evidence.logspace import LOG_FLOOR, MIN_SUM, Bools, Floats, quantize

# Weights of the changepoints "at the start" and "at this change of the traffic's weight".
INITIAL_WEIGHT = 0.35
STEP_WEIGHT = 0.1
# Of the remaining weight 1 / (k + _START_DECAY) goes to the changepoint "now" in interval k. That falls like a power
# of k, not exponentially: after hours there is still weight left for a late changepoint.
_START_DECAY = 15.0


class ChangepointMixture(NamedTuple):
    """The mixture so far: the wealth of each component, and the weight of the changepoints still to come.

    `log_wealth` is the log of the sum over changepoints s of w_s * prod over k >= s of e_k, by release and component;
    `unstarted` is the weight of later changepoints, whose terms are 1; `intervals` is the number of intervals.
    """

    log_wealth: Floats
    unstarted: Floats
    intervals: Floats

    @staticmethod
    def new(releases: int, components: int) -> ChangepointMixture:
        """Before the first interval."""
        return ChangepointMixture(np.full((releases, components), LOG_FLOOR), np.ones(releases), np.zeros(releases))


class MixtureUpdate(NamedTuple):
    """One metric's mixture and its e-values of an interval.

    `log_e` are logarithms of e-values by release and component; releases that are not `counted` stay as they are.
    """

    before: ChangepointMixture
    log_e: Floats
    counted: Bools


def update_mixtures(updates: Sequence[MixtureUpdate], step_changed: Bools) -> list[ChangepointMixture]:
    """One more interval: the changepoint "now" gets its weight, and the wealth of each component is multiplied by e.

    As all changepoints of a component are multiplied by the same e, one number holds their sum: a sum over changepoints
    needs no more memory than a single one. The weights depend on the past alone, so every sum of them is an e-value.
    Source: F5.
    """
    metric, firsts = _component_layout(tuple(each.log_e.shape[1] for each in updates))
    log_wealth = np.concatenate([each.before.log_wealth for each in updates], axis=1)
    log_e = np.concatenate([each.log_e for each in updates], axis=1)
    # Metrics run along the first axis.
    unstarted, intervals = np.array([(each.before.unstarted, each.before.intervals) for each in updates]).swapaxes(0, 1)
    counted = np.array([each.counted for each in updates])
    usual = np.minimum(unstarted / (intervals + _START_DECAY) + STEP_WEIGHT * step_changed, unstarted / 2)
    weight = np.where(intervals == 0, INITIAL_WEIGHT, usual)
    updated = quantize(np.logaddexp(log_wealth, np.log(weight)[metric].T) + log_e)
    log_wealth = np.where(counted[metric].T, updated, log_wealth)
    unstarted, intervals = unstarted - weight * counted, intervals + counted
    ends = [*firsts[1:], log_wealth.shape[1]]
    return [
        ChangepointMixture(log_wealth[:, first:end], unstarted[at], intervals[at])
        for at, (first, end) in enumerate(zip(firsts, ends, strict=True))
    ]


def log_mixture_e_values(mixtures: Sequence[ChangepointMixture], weights: Sequence[Floats]) -> list[Floats]:
    """log E_m by metric and release: the mixture over components (weights sum to 1) and changepoints."""
    metric, firsts = _component_layout(tuple(each.log_wealth.shape[1] for each in mixtures))
    log_wealth = np.concatenate([each.log_wealth for each in mixtures], axis=1)
    component_weights = np.empty(log_wealth.shape)
    for first, each in zip(firsts, weights, strict=True):
        component_weights[:, first : first + each.shape[-1]] = each
    peak = np.maximum(np.maximum.reduceat(log_wealth, firsts, axis=1), LOG_FLOOR)
    total = np.add.reduceat(np.exp(log_wealth - peak[:, metric]) * component_weights, firsts, axis=1)
    log_e = np.log(np.maximum(total, MIN_SUM)) + peak
    return [*np.logaddexp(log_e.T, np.log([each.unstarted for each in mixtures]))]


@lru_cache(maxsize=64)
def _component_layout(sizes: tuple[int, ...]) -> tuple[NDArray[np.intp], list[int]]:
    """The metric of each component, and the first component of each metric; `sizes` are their numbers by metric."""
    metric = [at for at, size in enumerate(sizes) for _ in range(size)]
    return np.array(metric), [metric.index(at) for at in range(len(sizes))]
