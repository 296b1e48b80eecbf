"""Rare events: failed requests, failed inferences, wrong answers. F1 to roll back, F7 to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.evidence.clearing import log_below_bound, log_cleared
from iris_operator.analysis.evidence.dispersion import Dispersion, add_pods, factor, spread, squared_variation
from iris_operator.analysis.evidence.logspace import Bools, Floats, log_sum, stored
from iris_operator.analysis.evidence.ratio import log_noisy_ratio
from iris_operator.analysis.evidence.starts import Started, add_interval, log_evidence
from iris_operator.analysis.look import Look, Side, Signals, State

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
# To go on: the canary has a quarter, half of, or as many events as stable, in multiples of the tolerated ratio / 2.
CLEARED = np.array([0.25, 0.5, 1.0])
CLEARED_PI = np.array([0.2, 0.3, 0.5])
# Of the stake on going on: on the ratio to stable; the rest is on the tolerated harm.
_ON_RATIO = 0.2


class Events(NamedTuple):
    """So many of so many; the shapes are those of a `Side`."""

    events: Floats
    total: Floats


class _Counts(NamedTuple):
    """What a look has for one metric. All after `pods` is the same for every metric."""

    canary: Events
    stable: Events
    pods: Events | None
    load: Floats
    canary_pods: Floats
    stable_pods: Floats
    next_share: Floats
    step_changed: Bools


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
        zero = np.zeros(releases)
        return {
            "playing": new.playing,
            "waiting": new.waiting,
            "seen": new.seen,
            "cleared": np.zeros((releases, len(CLEARED))),
            "xc": zero,
            "nc": zero,
            "xs": zero,
            "ns": zero,
            "squares": zero,
            "freedom": zero,
            "exposure": zero,
        }

    @property
    def bets(self) -> tuple[object, ...]:
        """Metrics with the same bets can be folded together."""
        return (*self._omegas.tolist(), *self._rhos.tolist(), self._max_harm, *self._pi.tolist())

    def fold(self, state: State, look: Look) -> tuple[State, Signals]:
        """See `Metric.fold`."""
        counts = self.counts(look)
        if counts is None:
            nothing = np.zeros(len(look.step_changed))
            return state, Signals(nothing, nothing - np.inf)
        return self._fold(state, counts)

    def counts(self, look: Look) -> _Counts | None:
        """What the look has for this metric; None when one of the revisions was not measured."""
        canary, stable = self._of(look.canary), self._of(look.stable)
        if canary is None or stable is None:
            return None
        pods = self._of(look.pods) if look.pods else None
        return _Counts(
            *(canary, stable, pods, look.load, look.canary_pods, look.stable_pods),
            next_share=look.next_share,
            step_changed=look.step_changed,
        )

    def _fold(self, state: State, of: _Counts) -> tuple[State, Signals]:
        canary, stable = of.canary, of.stable
        counted = (canary.total > 0) & (stable.total > 0)
        noise = Dispersion(state["squares"], state["freedom"], state["exposure"])
        if of.pods is not None:
            noise = add_pods(noise, of.pods.events, of.pods.total, stable.total > 0)
        phi = factor(noise, of.load)
        xc, nc, xs, ns = (value[:, None] for value in (*canary, *stable))
        coin = spread(
            squared_variation(noise, of.stable_pods), canary.total, stable.total, of.canary_pods, of.stable_pods
        )[:, None]
        log_e = log_noisy_ratio(xc, nc, xs, ns, self._omegas, self._rhos, coin)
        started = add_interval(
            Started(state["playing"], state["waiting"], state["seen"]),
            log_e[:, : len(OMEGAS)],
            of.step_changed,
            counted,
        )
        better = log_e[:, len(OMEGAS) :]
        after = {
            "playing": started.playing, "waiting": started.waiting, "seen": started.seen,
            "cleared": stored(state["cleared"] + better),
            "xc": state["xc"] + canary.events, "nc": state["nc"] + canary.total,
            "xs": state["xs"] + np.where(counted, stable.events, 0.0),
            "ns": state["ns"] + np.where(counted, stable.total, 0.0),
            "squares": noise.squares, "freedom": noise.freedom, "exposure": noise.exposure,
        }  # fmt: skip
        by_bound = log_below_bound(after["xc"], after["nc"], self._max_harm / of.next_share) / phi
        good = log_cleared(log_sum(after["cleared"], CLEARED_PI), by_bound, _ON_RATIO)
        return after, Signals(log_evidence(started, self._pi), good)


def fold_together(metrics: Sequence[RareEvents], states: Sequence[State], look: Look) -> list[tuple[State, Signals]]:
    """`fold` of several metrics with the same `bets`: their releases one after the other, as if they were others."""
    counts = [each for metric in metrics if (each := metric.counts(look)) is not None]
    if len(counts) < len(metrics) or len({each.pods is None for each in counts}) > 1:
        return [metric.fold(state, look) for metric, state in zip(metrics, states, strict=True)]
    after, signals = metrics[0]._fold(_join_states(states), _join(counts))  # noqa: SLF001 - of the same class
    size = len(look.step_changed)
    parts = [slice(at * size, (at + 1) * size) for at in range(len(metrics))]
    return [
        ({name: value[part] for name, value in after.items()}, Signals(signals.worse[part], signals.good[part]))
        for part in parts
    ]


def _join_states(states: Sequence[State]) -> State:
    single = [name for name, value in states[0].items() if value.ndim == 1]
    several = [name for name, value in states[0].items() if value.ndim > 1]
    return {
        **dict(zip(single, _joined([[state[name] for state in states] for name in single]), strict=True)),
        **{name: np.concatenate([state[name] for state in states]) for name in several},
    }


def _join(counts: Sequence[_Counts]) -> _Counts:
    first, times = counts[0], len(counts)
    pods = [each.pods for each in counts if each.pods is not None]
    values = [
        *([each.canary[part] for each in counts] for part in (0, 1)),
        *([each.stable[part] for each in counts] for part in (0, 1)),
        *([value] * times for value in (first.load, first.canary_pods, first.stable_pods, first.next_share)),
    ]
    events_c, total_c, events_s, total_s, load, canary_pods, stable_pods, next_share = _joined(values)
    return _Counts(
        Events(events_c, total_c),
        Events(events_s, total_s),
        Events(*(np.concatenate([each[part] for each in pods]) for part in (0, 1))) if pods else None,
        *(load, canary_pods, stable_pods, next_share),
        step_changed=np.concatenate([first.step_changed] * times),
    )


def _joined(values: Sequence[Sequence[Floats]]) -> Floats:
    """Several quantities, each of several metrics, by release: a row for each quantity, and one copy for all."""
    return np.concatenate([each for quantity in values for each in quantity]).reshape(len(values), -1)
