"""F5: a bet on every effect and on every time at which it may have begun."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from iris_operator.analysis.evidence.logspace import LOST, Bools, Floats, log_sum, stored

# Of the stake: what is on "from the start", and on "since this change of the weight".
AT_START = 0.35
AT_STEP = 0.1
# The rest is put, an interval at a time, on "since now": stake / (k + _SPREAD) of what is left in interval k. That
# falls like a power, not exponentially: after hours there is still something left to bet.
_SPREAD = 15.0


@dataclass(frozen=True)
class Started:
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


def add_interval(before: Started, log_e: Floats, step_changed: Bools, counted: Bools) -> Started:
    """One more interval: the share that starts now is staked, and everything that plays is multiplied by its e.

    As all stakes of a component are multiplied by the same e, one number holds them all: the sum over start times
    needs no more memory than a single start. The weights depend on the past alone, so every sum of them is an e-value.
    Rows that are not `counted` stay as they are. Source: F5.
    """
    first = before.seen == 0
    spread = before.waiting / (before.seen + _SPREAD)
    stake = np.where(first, AT_START, np.minimum(spread + AT_STEP * step_changed, before.waiting / 2))
    playing = np.logaddexp(before.playing, np.log(stake)[:, None]) + log_e
    return Started(
        np.where(counted[:, None], stored(playing), before.playing),
        before.waiting - stake * counted,
        before.seen + counted,
    )


def log_evidence(started: Started, weights: Floats) -> Floats:
    """log E_m: the mixture over components (weights sum to 1) and start times."""
    return np.asarray(np.logaddexp(log_sum(started.playing, weights), np.log(started.waiting)))
