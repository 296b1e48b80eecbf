"""What was counted of each revision between two moments: integers, never rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Bin(NamedTuple):
    """The values of a feature up to a bound and above the bound of the bin before, and their share in the training."""

    up_to: float
    training_share: float


@dataclass(frozen=True)
class RequestCounts:
    """What one revision did in an interval. None: not measured at all.

    `by_code` counts requests by HTTP status code. `at_most` counts the requests that took at most so many seconds, by
    the bound of the histogram's bucket; `timed` is the histogram's total. `failures` are failed inferences, `by_class`
    predictions by class, `features` the values of each feature by bin of the training data of the revision's own model,
    `correct` and `incorrect` the answers that a label came for in this interval. `cached` are, as in `at_most` and with
    the infinite bound, the requests that a tier of the cache answered alone, by tier. `pods` are the counts by pod.
    """

    by_code: Mapping[str, int] = field(default_factory=dict)
    at_most: Mapping[float, int] = field(default_factory=dict)
    timed: int = 0
    failures: int | None = None
    by_class: Mapping[str, int] | None = None
    features: Mapping[str, Mapping[Bin, int]] | None = None
    correct: int | None = None
    incorrect: int | None = None
    cached: Mapping[str, Mapping[float, int]] | None = None
    pods: tuple[RequestCounts, ...] = ()

    @property
    def total(self) -> int:
        """All answered requests."""
        return sum(self.by_code.values())

    @property
    def server_errors(self) -> int:
        """Requests answered with a 5xx code."""
        return sum([count for code, count in self.by_code.items() if code[:1] == "5"])


@dataclass(frozen=True)
class Copies:
    """What came of copies of requests: of the canary, and of both versions' answers to the same requests.

    `counts` are the canary's, counted where they were sent, so that one that never answers is counted, too. `same` of
    the requests that both answered had the same answers, `different` had not. `labels` are those that came for flowers
    that both predicted: (both right, only stable, only the canary, neither). `lost` are copies that the canary did not
    get, by what became of them. `planned`: does a pod of stable know that this canary is to get copies?
    """

    counts: RequestCounts
    same: int = 0
    different: int = 0
    labels: tuple[int, int, int, int] = (0, 0, 0, 0)
    lost: Mapping[str, int] = field(default_factory=dict)
    planned: bool = False


@dataclass(frozen=True)
class Interval:
    """One look at both revisions over the same time. None: that revision had no series at all.

    `weight` is the share that the router claims to give the canary, for the check of the split; None when it was not
    the same all the time. `custom` has the answers to custom queries by name; None is an answer without a number, a
    text says why there is none. `paired` counts requests that both versions answered and one got right: (only stable,
    only canary).
    """

    canary: RequestCounts | None
    stable: RequestCounts | None
    weight: float | None = None
    custom: Mapping[str, float | str | None] = field(default_factory=dict)
    paired: tuple[int, int] | None = None
