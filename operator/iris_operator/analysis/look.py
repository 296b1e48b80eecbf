"""One interval as arrays: the first axis runs over releases, so that one release and a thousand are the same code."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats

State = Mapping[str, Floats]
"""What a check remembers of a release, by name; the first axis of each array runs over releases."""


class Side(NamedTuple):
    """Counts of one revision, or of its pods (then the pods run along axis 1). None: not measured at all.

    `bins` are requests by duration, one more than there are bounds; `tiers` are the same requests by where their
    answers came from, a row for each tier of the cache and a last one for the rest. `classes` are predictions by class.
    """

    requests: Floats
    errors: Floats
    failures: Floats | None = None
    bins: Floats | None = None
    tiers: Floats | None = None
    classes: Floats | None = None
    labelled: Floats | None = None
    wrong: Floats | None = None


@dataclass(frozen=True)
class Look:
    """One interval of both revisions.

    `pods` are stable's, for the noise between them; `canary_pods` and `stable_pods` how many there are.
    `next_share` is the fraction of the traffic that the canary would get next. `step_changed` marks the first interval
    of a step, whose latencies still are those of cold caches; `incident` one in which stable itself was in trouble.
    """

    canary: Side
    stable: Side
    pods: Side | None
    canary_pods: Floats
    stable_pods: Floats
    next_share: Floats
    step_changed: Bools
    incident: Bools | None = None
    pairs: Floats | None = None
    """Requests that both versions answered and only one got right: columns (only stable, only canary)."""

    @cached_property
    def load(self) -> Floats:
        """The canary's requests a pod over stable's."""
        of_canary = self.canary.requests / np.maximum(self.canary_pods, 1.0)
        of_stable = self.stable.requests / np.maximum(self.stable_pods, 1.0)
        return np.asarray(of_canary / np.maximum(of_stable, 1e-9))

    @cached_property
    def ahead(self) -> Floats:
        """The shares that margins are divided by, a column each: the next one, and all of the traffic."""
        columns = np.ones((len(self.next_share), 2))
        columns[:, 0] = self.next_share
        return columns


class Signals(NamedTuple):
    """What one metric says so far, in logarithms: E_m that the canary is worse, G that it is good enough."""

    worse: Floats
    good: Floats


def nothing_said(look: Look) -> Signals:
    """Of a metric that was not measured: an e-value of 1, and nothing to go on with."""
    nothing = np.zeros(len(look.step_changed))
    return Signals(nothing, nothing - np.inf)


Folding = Generator[Any, Any, tuple[State, Signals]]
"""A metric on its way through an interval; what it asks on it is in `metrics/lockstep.py`."""


class Metric(Protocol):
    """The evidence of one metric. Pure: the same state and the same look give the same signals."""

    def start(self, releases: int) -> State:
        """The state before the first interval."""
        ...

    def fold(self, state: State, look: Look) -> Folding:
        """Take one more interval into account."""
        ...


def stack_looks(looks: Sequence[Look]) -> Look:
    """Looks at releases that are alike (the same things measured, the same bounds and classes) as one.

    Pods are filled up to the most of any with pods that did nothing.
    """
    first = looks[0]
    pods = [look.pods for look in looks if look.pods is not None]
    most = max((side.requests.shape[1] for side in pods), default=0)
    return Look(
        canary=_stack_sides([look.canary for look in looks]),
        stable=_stack_sides([look.stable for look in looks]),
        pods=_stack_sides([_filled(look.pods, pods[0], most) for look in looks]) if pods else None,
        canary_pods=np.concatenate([look.canary_pods for look in looks]),
        stable_pods=np.concatenate([look.stable_pods for look in looks]),
        next_share=np.concatenate([look.next_share for look in looks]),
        step_changed=np.concatenate([look.step_changed for look in looks]),
        pairs=None if first.pairs is None else np.concatenate([look.pairs for look in looks if look.pairs is not None]),
    )


def _stack_sides(sides: Sequence[Side]) -> Side:
    """What one of them lacks is lacking."""

    def joined(values: Sequence[Floats | None]) -> Floats | None:
        present = [value for value in values if value is not None]
        return np.concatenate(present) if len(present) == len(values) else None

    return Side(
        requests=np.concatenate([side.requests for side in sides]),
        errors=np.concatenate([side.errors for side in sides]),
        failures=joined([side.failures for side in sides]),
        bins=joined([side.bins for side in sides]),
        tiers=joined([side.tiers for side in sides]),
        classes=joined([side.classes for side in sides]),
        labelled=joined([side.labelled for side in sides]),
        wrong=joined([side.wrong for side in sides]),
    )


def _filled(pods: Side | None, like: Side, most: int) -> Side:
    def wide(value: Floats | None, shape: Floats | None) -> Floats | None:
        if shape is None or (pods is not None and value is None):
            return None
        whole = np.zeros((1, most, *shape.shape[2:]))
        if value is not None:
            whole[:, : value.shape[1]] = value
        return whole

    none = Side(like.requests[:, :0], like.errors[:, :0]) if pods is None else pods
    requests, errors = np.zeros((1, most)), np.zeros((1, most))
    requests[:, : none.requests.shape[1]], errors[:, : none.errors.shape[1]] = none.requests, none.errors
    return Side(
        requests=requests,
        errors=errors,
        failures=wide(none.failures, like.failures),
        bins=wide(none.bins, like.bins),
        tiers=wide(none.tiers, like.tiers),
        classes=wide(none.classes, like.classes),
        labelled=wide(none.labelled, like.labelled),
        wrong=wide(none.wrong, like.wrong),
    )
