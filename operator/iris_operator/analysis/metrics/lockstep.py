"""What metrics ask on their way through an interval, answered for all of them at once.

With few releases the number of arrays takes time and not their size. So every metric is a generator that reads from top
to bottom as if it were alone; where all of them need the same computation they wait for each other, and it is made once
on what they ask, side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import numpy as np

from iris_operator.analysis.evidence.clearing import CLEARED_WEIGHTS, log_below_bound, log_cleared
from iris_operator.analysis.evidence.dispersion import Dispersion, add_pods, factor, spread, squared_variation
from iris_operator.analysis.evidence.logspace import Bools, Floats, log_sum
from iris_operator.analysis.evidence.margin import log_beside
from iris_operator.analysis.evidence.ratio import log_noisy_ratio
from iris_operator.analysis.evidence.starts import Stake, Started, add_intervals, log_evidences
from iris_operator.analysis.look import Look, Metric, Signals, State

_Answer = TypeVar("_Answer")
_Asking = Generator[Any, Any, _Answer]


class Pods(NamedTuple):
    """How noisy is each kind of event? Events of stable's pods by release, pod and kind, of so many requests a pod.

    None where the pods were not measured. `counted` is by release.
    """

    before: Dispersion
    events: Floats | None
    requests: Floats | None
    counted: Bools

    def ask(self) -> _Asking[Noise]:
        """The noise between stable's pods, with this interval."""
        noise: Noise = yield self
        return noise


class Noise(NamedTuple):
    """Of each kind of event: what is known of it now, phi, by which evidence is divided, and `squared_variation`."""

    dispersion: Dispersion
    phi: Floats
    variation: Floats


class Shares(NamedTuple):
    """Bets on differences of shares: see `log_beside`. By release and bet, the shares of stable and `sides` by bet."""

    columns: Floats
    """The first axis runs over the events, requests of canary and stable, the shares of both bet on, and the margin."""
    sides: Floats

    def ask(self) -> _Asking[Floats]:
        """What came of the bets: logarithms of e-values by release and bet."""
        outcome: Floats = yield self
        return outcome


class Ratios(NamedTuple):
    """Bets on ratios of rates: see `log_noisy_ratio`. The ratios are by bet.

    `counts` are events and requests of the canary, then those of stable, by release; `variation` is that of the events.
    """

    counts: Sequence[Floats]
    variation: Floats
    omegas: Floats
    rhos: Floats

    def ask(self) -> _Asking[Floats]:
        """What came of the bets: logarithms of e-values by release and bet."""
        outcome: Floats = yield self
        return outcome


class Bets(NamedTuple):
    """The stakes and what came of them, and how much of the evidence each component is; see `log_evidences`."""

    stake: Stake
    weights: Floats

    def ask(self) -> _Asking[tuple[Started, Floats]]:
        """The stakes after this interval, and the evidence of them all by release."""
        evidence: tuple[Started, Floats] = yield self
        return evidence


class Clearing(NamedTuple):
    """Is a rate below the tolerated one? See `log_cleared`.

    `by_ratio` are logarithms of e-values by release and effect, `counts` the canary's events and requests, the bound of
    their rate, and phi.
    """

    by_ratio: Floats
    counts: Sequence[Floats]

    def ask(self) -> _Asking[Floats]:
        """The evidence, as a logarithm, that the rate is below the tolerated one."""
        cleared: Floats = yield self
        return cleared


def fold_together(metrics: Sequence[Metric], states: Sequence[State], look: Look) -> list[tuple[State, Signals]]:
    """Lead all of them through the interval: at each step those that ask the same are answered together."""
    foldings = [metric.fold(state, look) for metric, state in zip(metrics, states, strict=True)]
    done: dict[int, tuple[State, Signals]] = {}
    asked: dict[int, Any] = {}

    def go_on(at: int, answer: Any) -> None:
        try:
            asked[at] = foldings[at].send(answer)
        except StopIteration as end:
            done[at] = end.value

    for at in range(len(foldings)):
        go_on(at, None)
    while asked:
        # In the order of the questions: who is behind goes first, so that all meet at the next.
        kind = next(kind for kind in _ANSWERS if kind in map(type, asked.values()))
        those = [at for at, request in asked.items() if type(request) is kind]
        answers = _ANSWERS[kind](look, [asked.pop(at) for at in those])
        for at, answer in zip(those, answers, strict=True):
            go_on(at, answer)
    return [done[at] for at in range(len(foldings))]


def _noises(look: Look, asked: Sequence[Pods]) -> list[Noise]:
    sizes = [each.before.squares.shape[1] for each in asked]
    known = Dispersion(*map(_joined, zip(*[each.before for each in asked], strict=True)))
    pods = [each.requests.shape[1] for each in asked if each.requests is not None]
    if pods:
        # Pods that did nothing tell nothing.
        events = np.zeros((len(known.squares), pods[0], sum(sizes)))
        requests = np.zeros(events.shape)
        counted = np.zeros(known.squares.shape, dtype=np.bool_)
        for each, part in zip(asked, _parts(sizes), strict=True):
            if each.events is not None and each.requests is not None:
                events[..., part], requests[..., part] = each.events, each.requests[..., None]
                counted[:, part] = each.counted[:, None]
        known = add_pods(known, events, requests, counted)
    phi, variation = factor(known, look.load), squared_variation(known, look.stable_pods[:, None])
    return [
        Noise(Dispersion(*[value[:, part] for value in known]), phi[:, part], variation[:, part])
        for part in _parts(sizes)
    ]


def _outcomes_of_shares(_look: Look, asked: Sequence[Shares]) -> list[Floats]:
    x_c, n_c, x_s, n_s, theta_c, theta_s, delta = np.concatenate([each.columns for each in asked], axis=2)
    sides = np.concatenate([each.sides for each in asked])
    return _split(log_beside(x_c, n_c, x_s, n_s, (theta_c, theta_s), delta, sides), [len(each.sides) for each in asked])


def _outcomes_of_ratios(look: Look, asked: Sequence[Ratios]) -> list[Floats]:
    sizes = [len(each.omegas) for each in asked]
    # Metrics run along the first axis, and then, a column each, bets.
    x_c, n_c, x_s, n_s, variation = np.array([(*each.counts, each.variation) for each in asked]).swapaxes(0, 1)
    coins = spread(variation, n_c, n_s, look.canary_pods, look.stable_pods)
    x_c, n_c, x_s, n_s, coins = np.repeat(np.array([x_c, n_c, x_s, n_s, coins]), sizes, axis=1).swapaxes(1, 2)
    omegas, rhos = np.concatenate([each.omegas for each in asked]), np.concatenate([each.rhos for each in asked])
    return _split(log_noisy_ratio(x_c, n_c, x_s, n_s, omegas, rhos, coins), sizes)


def _evidences(look: Look, asked: Sequence[Bets]) -> list[tuple[Started, Floats]]:
    after = add_intervals([each.stake for each in asked], look.step_changed)
    return list(zip(after, log_evidences(after, [each.weights for each in asked]), strict=True))


def _cleared(_look: Look, asked: Sequence[Clearing]) -> list[Floats]:
    """Metrics run along the first axis."""
    events, requests, bound, phi = np.array([each.counts for each in asked]).swapaxes(0, 1)
    by_ratio = log_sum(np.array([each.by_ratio for each in asked]), CLEARED_WEIGHTS)
    return [*log_cleared(by_ratio, log_below_bound(events, requests, bound) / phi)]


def _joined(values: Sequence[Floats]) -> Floats:
    return np.concatenate(values, axis=1)


def _parts(sizes: Sequence[int]) -> list[slice]:
    return [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]


def _split(values: Floats, sizes: Sequence[int]) -> list[Floats]:
    return [values[:, part] for part in _parts(sizes)]


_ANSWERS: dict[type, Callable[[Look, Any], list[Any]]] = {
    Pods: _noises,
    Shares: _outcomes_of_shares,
    Ratios: _outcomes_of_ratios,
    Bets: _evidences,
    Clearing: _cleared,
}
