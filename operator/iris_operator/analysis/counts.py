"""Counts of each revision in an interval: integers, never rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Bin(NamedTuple):
    """A bin of a feature's values, from the previous bin's bound up to this one, and its share in the training data."""

    up_to: float
    training_share: float


@dataclass(frozen=True)
class RequestCounts:
    """Counts of one revision in an interval. None: not measured at all.

    `by_code` has the requests by HTTP status code. `at_most` is the cumulative histogram of durations, by the bucket's
    bound in seconds; `timed` is the histogram's total. `failures` are failed inferences, `by_class` predictions by
    class, `features` the values of each feature by bin of the training data of the revision's own model, `correct` and
    `incorrect` the answers whose label arrived in this interval. `cached` has such a histogram, including the infinite
    bound, of the requests that each tier of the cache answered. `seconds` is the sum of the durations. `at_most`,
    `timed`, `cached` and `seconds` leave out what a pod answered while it warmed up. `pods` are the counts by pod.
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
    seconds: float | None = None
    pods: tuple[RequestCounts, ...] = ()

    @property
    def total(self) -> int:
        """All answered requests."""
        return sum(self.by_code.values())

    @property
    def client_errors(self) -> int:
        """Requests answered with a 4xx code."""
        return sum([count for code, count in self.by_code.items() if code[:1] == "4"])

    @property
    def server_errors(self) -> int:
        """Requests answered with a 5xx code."""
        return sum([count for code, count in self.by_code.items() if code[:1] == "5"])


def without_requests(like: RequestCounts) -> RequestCounts:
    """The counts of a revision that counts the same things as another one, and got no request."""
    return RequestCounts(
        by_code=dict.fromkeys(like.by_code, 0),
        at_most=dict.fromkeys(like.at_most, 0),
        seconds=None if like.seconds is None else 0.0,
        failures=None if like.failures is None else 0,
        by_class=None if like.by_class is None else dict.fromkeys(like.by_class, 0),
        correct=None if like.correct is None else 0,
        incorrect=None if like.incorrect is None else 0,
        cached=None if like.cached is None else {tier: dict.fromkeys(of, 0) for tier, of in like.cached.items()},
    )


@dataclass(frozen=True)
class ShadowCounts:
    """Mirrored requests in an interval: the counts of both arms, and how both versions' answers compare.

    `counts` are the canary's, counted by the sender, so that a request without an answer is counted, too. `control` are
    those of the control group, which gets the same requests; None without one. Of the requests that both versions
    answered `same` had the same answers and `different` had not. `labels` are those that arrived for instances that
    both predicted: (both right, only stable, only the canary, neither). `undelivered` are mirrored requests that one of
    the arms did not get, by result. `configured`: has any pod of stable loaded this canary's config?
    """

    counts: RequestCounts
    same: int = 0
    different: int = 0
    labels: tuple[int, int, int, int] = (0, 0, 0, 0)
    undelivered: Mapping[str, int] = field(default_factory=dict)
    configured: bool = False
    control: RequestCounts | None = None


@dataclass(frozen=True)
class Interval:
    """The counts of both revisions over the same time. None: that revision had no series at all.

    `stable` are all pods of stable's revision, the control group among them. `control` is that group alone: pods like
    the canary's, behind the same Service, with which durations are compared. Without one (None) all of stable is it.
    `weight` is the share that the router claims to give the canary, for the check of the split; None when it changed
    during the interval. `custom` has the results of custom queries by name; None is a result without a number, a text
    is the reason why the query failed. `paired` counts requests that both versions answered and only one got right:
    (only stable, only canary).
    """

    canary: RequestCounts | None
    stable: RequestCounts | None
    control: RequestCounts | None = None
    weight: float | None = None
    custom: Mapping[str, float | str | None] = field(default_factory=dict)
    paired: tuple[int, int] | None = None
