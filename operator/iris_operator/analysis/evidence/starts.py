"""F5: a bet on every effect and on every time at which it may have begun."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iris_operator.analysis.evidence.logspace import LOST, NOTHING, Bools, Floats, stored

# Of the stake: what is on "from the start", and on "since this change of the weight".
AT_START = 0.35
AT_STEP = 0.1
# The rest is put, an interval at a time, on "since now": stake / (k + _SPREAD) of what is left in interval k. That
# falls like a power, not exponentially: after hours there is still something left to bet.
_SPREAD = 15.0


class Started(NamedTuple):
    """The stakes so far: per component the evidence of those that play, and what has not been staked yet.

    `playing` is log of the sum over start times s of w_s * prod over k >= s of e_k, by release and component;
    `waiting` is the stake that has not started (a term that has not started is 1); `seen` counts the intervals.
    """

    playing: Floats
    waiting: Floats
    seen: Floats

    @staticmethod
    def new(releases: int, components: int) -> Started:
        """Before the first interval."""
        return Started(np.full((releases, components), LOST), np.ones(releases), np.zeros(releases))


class Stake(NamedTuple):
    """One metric's stakes and its outcome of an interval.

    `log_e` are logarithms of e-values by release and component; releases that are not `counted` stay as they are.
    """

    before: Started
    log_e: Floats
    counted: Bools


def add_intervals(stakes: Sequence[Stake], step_changed: Bools) -> list[Started]:
    """One more interval: the share that starts now is staked, and everything that plays is multiplied by its e.

    As all stakes of a component are multiplied by the same e, one number holds them all: the sum over start times
    needs no more memory than a single start. The weights depend on the past alone, so every sum of them is an e-value.
    Source: F5.
    """
    metric, firsts = _places(tuple(each.log_e.shape[1] for each in stakes))
    playing = np.concatenate([each.before.playing for each in stakes], axis=1)
    log_e = np.concatenate([each.log_e for each in stakes], axis=1)
    # Metrics run along the first axis.
    waiting, seen = np.array([(each.before.waiting, each.before.seen) for each in stakes]).swapaxes(0, 1)
    counted = np.array([each.counted for each in stakes])
    usual = np.minimum(waiting / (seen + _SPREAD) + AT_STEP * step_changed, waiting / 2)
    stake = np.where(seen == 0, AT_START, usual)
    played = stored(np.logaddexp(playing, np.log(stake)[metric].T) + log_e)
    playing = np.where(counted[metric].T, played, playing)
    waiting, seen = waiting - stake * counted, seen + counted
    ends = [*firsts[1:], playing.shape[1]]
    return [
        Started(playing[:, first:end], waiting[at], seen[at])
        for at, (first, end) in enumerate(zip(firsts, ends, strict=True))
    ]


def log_evidences(started: Sequence[Started], weights: Sequence[Floats]) -> list[Floats]:
    """log E_m by metric and release: the mixture over components (weights sum to 1) and start times."""
    metric, firsts = _places(tuple(each.playing.shape[1] for each in started))
    playing = np.concatenate([each.playing for each in started], axis=1)
    whole = np.empty(playing.shape)
    for first, each in zip(firsts, weights, strict=True):
        whole[:, first : first + each.shape[-1]] = each
    peak = np.maximum(np.maximum.reduceat(playing, firsts, axis=1), LOST)
    total = np.add.reduceat(np.exp(playing - peak[:, metric]) * whole, firsts, axis=1)
    evidence = np.log(np.maximum(total, NOTHING)) + peak
    return [*np.logaddexp(evidence.T, np.log([each.waiting for each in started]))]


@lru_cache(maxsize=64)
def _places(sizes: tuple[int, ...]) -> tuple[NDArray[np.intp], list[int]]:
    """Components of so many a metric, one after the other: the metric of each, and the first of each metric."""
    metric = [at for at, size in enumerate(sizes) for _ in range(size)]
    return np.array(metric), [metric.index(at) for at in range(len(sizes))]
