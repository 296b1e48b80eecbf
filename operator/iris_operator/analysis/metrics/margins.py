"""What the comparisons of shares have in common: F3 on all of their bets at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.evidence.margin import log_beside
from iris_operator.analysis.look import Look, Signals, State


class Comparison(NamedTuple):
    """One interval's bets of a metric: on every kind of event several, the axes run over releases, kinds and bets.

    `columns` has before these an axis for what `log_beside` takes, see `columns_of`; `sides` is by kind and bet, in one
    row. `settle` makes of the bets' outcome, as logarithms of e-values, what the metric remembers and says.
    """

    columns: Floats
    sides: Floats
    settle: Callable[[Floats], tuple[State, Signals]]


@runtime_checkable
class Comparing(Protocol):
    """A metric whose bets are on differences of shares."""

    def compare(self, state: State, look: Look) -> Comparison | None:
        """The bets on this interval; None when one of the revisions was not measured."""
        ...


def columns_of(
    x_c: Floats, n_c: Floats, x_s: Floats, n_s: Floats, theta_c: Floats, theta_s: Floats, delta: Floats
) -> Floats:
    """The quantities of `log_beside` in one array, the first axis runs over them.

    Events `x` and the shares of stable are by release and kind, requests `n` by release with an axis of one kind; the
    shares of the canary that are bet on are by release, kind and bet, and the differences can be.
    """
    columns = np.empty((7, *theta_c.shape))
    for at, value in ((0, x_c), (1, n_c), (2, x_s), (3, n_s), (5, theta_s)):
        columns[at] = value[..., None]
    columns[4], columns[6] = theta_c, delta
    return columns


def fold_margins(metrics: Sequence[Comparing], states: Sequence[State], look: Look) -> list[tuple[State, Signals]]:
    """`Metric.fold` of several metrics. With few releases the number of arrays takes time, not their size."""
    comparisons = [metric.compare(state, look) for metric, state in zip(metrics, states, strict=True)]
    outcomes = iter(_outcomes([each for each in comparisons if each is not None]))
    nothing = np.zeros(len(look.step_changed))
    return [
        (state, Signals(nothing, nothing - np.inf)) if each is None else each.settle(next(outcomes))
        for state, each in zip(states, comparisons, strict=True)
    ]


def _outcomes(comparisons: Sequence[Comparison]) -> list[Floats]:
    """log e of all bets, by comparison."""
    if not comparisons:
        return []
    flat = [each.columns.reshape(*each.columns.shape[:2], -1) for each in comparisons]
    x_c, n_c, x_s, n_s, theta_c, theta_s, delta = np.concatenate(flat, axis=2)
    sides = np.concatenate([each.sides for each in comparisons])
    bets = log_beside(x_c, n_c, x_s, n_s, (theta_c, theta_s), delta, sides)
    outcomes, at = [], 0
    for each in comparisons:
        outcomes.append(bets[:, at : at + len(each.sides)].reshape(each.columns.shape[1:]))
        at += len(each.sides)
    return outcomes
