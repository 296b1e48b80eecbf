"""Rare events: failed requests, failed inferences, wrong answers. F1 to roll back, F7 to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.evidence.clearing import CLEARED
from iris_operator.analysis.evidence.dispersion import Dispersion
from iris_operator.analysis.evidence.logspace import Floats, stored
from iris_operator.analysis.evidence.starts import Stake, Started
from iris_operator.analysis.look import Folding, Look, Side, Signals, State, nothing_said
from iris_operator.analysis.metrics.lockstep import Bets, Clearing, Pods, Ratios

# Effects worth betting on, as multiples of the tolerated ratio: log-spaced from a quarter more to a thousand times as
# many.
OMEGAS = 1.25 * (1000 / 1.25) ** (np.arange(13) / 12)


def stakes(around: float, spread: float) -> Floats:
    """The stake on each effect: a bell in log(omega) around the effect that a bad release of this kind has."""
    bell = np.exp(-0.5 * (np.log(OMEGAS / around) / np.log(spread)) ** 2) + 0.05
    return np.asarray(bell / bell.sum())


# A release that breaks something has about ten times the errors. A much larger effect needs no stake: its first
# interval is worth thousands to one. A model that got worse is wrong half as often again.
OF_FAILURES = stakes(8.0, 2.5)
OF_WRONG_ANSWERS = stakes(1.5, 1.6)


class Events(NamedTuple):
    """So many of so many; the shapes are those of a `Side`."""

    events: Floats
    total: Floats


class RareEvents:
    """How many times as often, and how much harm."""

    def __init__(
        self,
        of: Callable[[Side], Events | None],
        max_ratio: float,
        max_harm: float,
        pi: Floats = OF_FAILURES,
    ) -> None:
        """`of` picks the events; `max_ratio` and `max_harm` are what promotion must exclude (docs/adr/0014)."""
        self._of = of
        rho = max(1.0, max_ratio / 2)
        # Both kinds of bets at once: that it is worse, and that it is good enough.
        self._omegas = np.concatenate([rho * OMEGAS, max_ratio / 2 * CLEARED])
        self._rhos = np.concatenate([np.full(len(OMEGAS), rho), np.full(len(CLEARED), max_ratio)])
        self._max_harm = max_harm
        self._pi = pi

    def start(self, releases: int) -> State:
        """See `Metric.start`."""
        new = Started.new(releases, len(OMEGAS))
        zero, noise = np.zeros(releases), np.zeros((releases, 1))
        return {
            "playing": new.playing,
            "waiting": new.waiting,
            "seen": new.seen,
            "cleared": np.zeros((releases, len(CLEARED))),
            "xc": zero,
            "nc": zero,
            "xs": zero,
            "ns": zero,
            "squares": noise,
            "freedom": noise,
            "exposure": noise,
        }

    def fold(self, state: State, look: Look) -> Folding:
        """See `Metric.fold`."""
        canary, stable = self._of(look.canary), self._of(look.stable)
        if canary is None or stable is None:
            return state, nothing_said(look)
        counted = (canary.total > 0) & (stable.total > 0)
        pods = self._of(look.pods) if look.pods else None
        events, requests = (None, None) if pods is None else (pods.events[..., None], pods.total)
        known = Dispersion(state["squares"], state["freedom"], state["exposure"])
        noise, phi, variation = yield from Pods(known, events, requests, stable.total > 0).ask()
        log_e = yield from Ratios((*canary, *stable), variation[:, 0], self._omegas, self._rhos).ask()
        begun = Started(state["playing"], state["waiting"], state["seen"])
        started, worse = yield from Bets(Stake(begun, log_e[:, : len(OMEGAS)], counted), self._pi).ask()
        cleared = stored(state["cleared"] + log_e[:, len(OMEGAS) :])
        x_c, n_c = state["xc"] + canary.events, state["nc"] + canary.total
        bound = self._max_harm / look.next_share
        good = yield from Clearing(cleared, (x_c, n_c, bound, phi[:, 0])).ask()
        after = {
            "playing": started.playing, "waiting": started.waiting, "seen": started.seen,
            "cleared": cleared, "xc": x_c, "nc": n_c,
            "xs": state["xs"] + np.where(counted, stable.events, 0.0),
            "ns": state["ns"] + np.where(counted, stable.total, 0.0),
            "squares": noise.squares, "freedom": noise.freedom, "exposure": noise.exposure,
        }  # fmt: skip
        return after, Signals(worse, good)
