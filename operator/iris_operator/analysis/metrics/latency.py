"""Durations by histogram bin: a body that moved and a tail that grew are both seen. F3 to roll back as to go on."""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.evidence.dispersion import Dispersion
from iris_operator.analysis.evidence.logspace import Bools, Floats
from iris_operator.analysis.evidence.starts import Stake, Started
from iris_operator.analysis.look import Folding, Look, Signals, State, nothing_said
from iris_operator.analysis.metrics.lockstep import Bets, Pods, Shares
from iris_operator.analysis.metrics.margins import columns_of, earn
from iris_operator.analysis.metrics.tiers import Compared, compared, shares_of, uses_cache

# A new model may be a little slower: what is rolled back is slower than this part of what promotion excludes.
ROLLBACK_PART = 1 / 3
# How much likelier a request is beyond one bound: odds ratios.
ODDS = np.array([1.7, 5.0, 30.0, 300.0])
ODDS_PI = np.array([0.3, 0.15, 0.15, 0.4])
_SIDES = np.array([1.0] * len(ODDS) + [-1.0, -1.0])
# Stable's past fades: what it leads to expect follows the day.
_FADE = 0.95
# So many more of the canary's requests may lie beyond any bound, as far as going on is concerned: below that, a factor
# cannot be told from chance in a thin tail.
MAX_SHARE = 0.1


class LatencyBuckets:
    """Is the canary slower, by any bound of the histogram?"""

    def __init__(self, bounds: tuple[float, ...], max_slower: float, tiers: int = 0) -> None:
        """`bounds` in seconds, rising; `max_slower` is the factor that promotion must exclude.

        `tiers` is how many the cache has, 0 when nothing is known of it.
        """
        self._tiers = tiers
        self._bounds = np.array(bounds)
        self._max_slower = max_slower
        self._tolerated = tolerated(max_slower)
        self._sides = np.tile(_SIDES, len(bounds))
        # Below the first bound: as far as it usually is from one bound to the next.
        first = np.log(self._bounds[:1]) - np.log(2.5)
        self._knots = np.concatenate([first, np.log(self._bounds)])

    def start(self, releases: int) -> State:
        """See `Metric.start`."""
        bounds = len(self._bounds)
        new = Started.new(releases, bounds * len(ODDS))
        many = np.zeros((releases, bounds))
        return {
            "playing": new.playing,
            "waiting": new.waiting,
            "seen": new.seen,
            "stake": many,
            "step": many,
            "whole": many,
            "squares": many,
            "freedom": many,
            "exposure": many,
            "past": np.zeros((releases, bounds + 1)),
            "canary": np.zeros((releases, bounds + 1)),
            "stable": np.zeros((releases, bounds + 1)),
            **({"tiers": np.zeros((releases, (self._tiers + 1) * (bounds + 1)))} if self._tiers else {}),
        }

    def fold(self, state: State, look: Look) -> Folding:
        """See `Metric.fold`. The first interval of a step warms up, and one without a past teaches what to expect."""
        seen, everything = self._compared(state, look), look.stable.bins
        if seen is None or everything is None:
            return state, nothing_said(look)
        canary, stable = seen.canary, seen.stable
        n_c, n_s = canary.sum(axis=1, keepdims=True), stable.sum(axis=1, keepdims=True)
        normal = ~look.incident if look.incident is not None else np.ones(len(n_c), dtype=np.bool_)
        counted = (n_c[:, 0] > 0) & (n_s[:, 0] > 0) & (state["past"].sum(axis=1) > 0) & ~look.step_changed & normal
        beyond, requests = (None, None) if seen.pods is None else (_slower(seen.pods), seen.pods.sum(axis=2))
        before = Dispersion(state["squares"], state["freedom"], state["exposure"])
        noise, phi, _ = yield from Pods(before, beyond, requests, normal).ask()
        slow, excess, margins = self._beyond(seen.expected, look.ahead)
        columns = columns_of(_slower(canary), n_c, _slower(stable), n_s, _thetas(slow), slow, _deltas(excess, margins))
        outcome = yield from Shares(columns, self._sides).ask()
        outcome = outcome.reshape(*slow.shape, -1) / phi[..., None]
        log_e = outcome[..., : len(ODDS)].reshape(len(n_c), -1)
        # Fixed when the first bet is made: nothing is to be found beyond a bound that every request exceeds already.
        first = counted & (state["seen"] == 0)
        stake = np.where(first[:, None], _stake(slow), state["stake"]) if first.any() else state["stake"]
        begun = Started(state["playing"], state["waiting"], state["seen"])
        started, worse = yield from Bets(Stake(begun, log_e, counted), _weights(stake)).ask()
        earned = earn(state, look, outcome[..., len(ODDS) :], counted)
        use = counted[:, None]
        after = {
            "playing": started.playing, "waiting": started.waiting, "seen": started.seen, "stake": stake,
            "step": earned.step, "whole": earned.whole,
            "squares": noise.squares, "freedom": noise.freedom, "exposure": noise.exposure,
            "past": _faded(state["past"], everything, normal),
            "canary": (state["canary"] + np.where(use, canary, 0.0)).round(2),
            "stable": (state["stable"] + np.where(use, stable, 0.0)).round(2),
        }  # fmt: skip
        if look.stable.tiers is not None and self._tiers:
            after["tiers"] = _faded(state["tiers"], look.stable.tiers.reshape(len(n_c), -1), normal)
        return after, Signals(worse, earned.good)

    def expected(self, state: State) -> Floats:
        """The shares of the bins that stable's past leads to expect."""
        return shares_of(state["past"])

    def cached(self, state: State) -> Bools:
        """Did the cache answer some of stable's requests?"""
        if not self._tiers:
            return np.zeros(len(state["past"]), dtype=np.bool_)
        # The last tier is none.
        return np.asarray(state["tiers"][:, : -state["past"].shape[1]].any(axis=1))

    def _compared(self, state: State, look: Look) -> Compared | None:
        """Where no answer came from the cache everything is alike."""
        if self._tiers and (self.cached(state).any() or uses_cache(look.canary) or uses_cache(look.stable)):
            return compared(look, self._by_tier(state))
        canary, stable, pods = look.canary.bins, look.stable.bins, look.pods
        if canary is None or stable is None:
            return None
        return Compared(canary, stable, None if pods is None else pods.bins, self.expected(state))

    def _by_tier(self, state: State) -> Floats:
        """Stable's past by release, tier and bin; the last tier is none."""
        releases, size = state["past"].shape
        return state["tiers"].reshape(releases, -1, size) if self._tiers else state["past"][:, None]

    def slowed(self, bins: Floats, factor: float) -> Floats:
        """The bins of the same requests, had each taken `factor` times as long; log-linear between the bounds."""
        total = bins.sum(axis=1, keepdims=True)
        slow = _slower(bins / np.maximum(total, 1.0))
        more = slow + self._excess(slow, np.full((len(slow), 1, 1), np.log(factor)))[:, 0]
        edge = np.ones((len(slow), 1))
        return np.asarray(-np.diff(np.concatenate([edge, more, 0.0 * edge], axis=1), axis=1) * total)

    def margins(self, shares: Floats, ahead: Floats) -> tuple[Floats, Floats]:
        """The share beyond each bound, and by how much a canary's may exceed it: what a factor would add.

        Stable's histogram is read as log-linear between its bounds, and `MAX_SHARE` is tolerated in any case. As for
        errors, a canary that will carry a small share may be slower in its own: `ahead` has shares of the traffic, a
        column each; the margins have an axis for them between releases and bounds.
        """
        slow, _, margins = self._beyond(shares, ahead)
        return slow, margins

    def _beyond(self, shares: Floats, ahead: Floats) -> tuple[Floats, Floats, Floats]:
        """The share beyond each bound, what may be beyond it without being rolled back, and `margins`."""
        slow = _slower(shares)
        factors = np.full((len(slow), 1 + ahead.shape[1]), self._tolerated)
        factors[:, 1:] = 1.0 + (self._max_slower - 1.0) / ahead
        excess = self._excess(slow, np.log(factors)[..., None])
        margins = np.minimum(np.maximum(excess[:, 1:], MAX_SHARE / ahead[..., None]), 1.0 - 1e-9)
        return slow, excess[:, 0], margins

    def _excess(self, slow: Floats, stretch: Floats) -> Floats:
        """How many more requests lie beyond each bound when all take so much longer; `stretch` is a logarithm."""
        at = self._knots[1:] - stretch
        position = np.minimum(np.maximum(np.searchsorted(self._knots, at) - 1, 0), len(self._bounds) - 1)
        left, right = self._knots[position], self._knots[position + 1]
        within = np.minimum(np.maximum((at - left) / (right - left), 0.0), 1.0)
        edge = np.concatenate([np.ones((len(slow), 1)), slow], axis=1)
        row = np.arange(len(slow))[:, None, None]
        low, high = edge[row, position], edge[row, position + 1]
        return np.asarray(low + (high - low) * within - slow[:, None, :])


def tolerated(max_slower: float) -> float:
    """The factor up to which nobody is rolled back for being slower."""
    return 1.0 + (max_slower - 1.0) * ROLLBACK_PART


def _thetas(slow: Floats) -> Floats:
    """What is bet on at every bound, of the canary: the effects for rolling back, then twice "as stable"."""
    here = slow[..., None]
    thetas = np.empty((*slow.shape, len(ODDS) + 2))
    thetas[..., : len(ODDS)] = np.minimum(ODDS * here / (1.0 - here + ODDS * here), 1.0 - 1e-9)
    thetas[..., len(ODDS) :] = here
    return thetas


def _deltas(excess: Floats, margins: Floats) -> Floats:
    """The differences that are bet against, column by column as `_thetas`."""
    deltas = np.empty((*excess.shape, len(ODDS) + 2))
    deltas[..., : len(ODDS)] = excess[..., None]
    deltas[..., len(ODDS) :] = margins.swapaxes(1, 2)
    return deltas


def _faded(past: Floats, now: Floats, normal: Bools) -> Floats:
    return np.where(normal[:, None], (_FADE * past + now).round(2), past)


def _stake(slow: Floats) -> Floats:
    """How much of the stake is on each bound, by how much of the requests lies below it."""
    room = 1.0 - slow
    return np.asarray(room / np.maximum(room.sum(axis=1, keepdims=True), 1e-9)).round(4)


def _weights(stake: Floats) -> Floats:
    """The stake on every component, in the order of `playing`; sums to 1 up to the rounding of `stake`."""
    return np.asarray((stake[:, :, None] * ODDS_PI).reshape(len(stake), -1))


def _slower(bins: Floats) -> Floats:
    """How many lie beyond each bound; the bins run along the last axis."""
    return np.asarray(bins[..., ::-1].cumsum(axis=-1)[..., -2::-1])
