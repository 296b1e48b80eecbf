"""One interval as arrays: the first axis runs over releases, so that one release and a thousand are the same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats

State = Mapping[str, Floats]
"""What a check remembers of a release, by name; the first axis of each array runs over releases."""


@dataclass(frozen=True)
class Side:
    """Counts of one revision, or of its pods (then the pods run along axis 1). None: not measured at all.

    `bins` are requests by duration, one more than there are bounds; `classes` are predictions by class.
    """

    requests: Floats
    errors: Floats
    failures: Floats | None = None
    bins: Floats | None = None
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


class Signals(NamedTuple):
    """What one metric says so far, in logarithms: E_m that the canary is worse, G that it is good enough."""

    worse: Floats
    good: Floats


class Metric(Protocol):
    """The evidence of one metric. Pure: the same state and the same look give the same signals."""

    def start(self, releases: int) -> State:
        """The state before the first interval."""
        ...

    def fold(self, state: State, look: Look) -> tuple[State, Signals]:
        """Take one more interval into account."""
        ...
