"""What the engine needs from the world. Adapters implement these; tests give their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from iris_operator.analysis.counts import Copies, RequestCounts
from iris_operator.engine.release import Release
from iris_operator.rollout.decision import Notice
from iris_operator.rollout.observation import Route

Json = Mapping[str, Any]


class Conflict(Exception):
    """Somebody else changed the object since it was read: read again, decide again."""


class Forbidden(Exception):
    """A right is missing; the message names it."""


class Unavailable(Exception):
    """The API server asks for patience, or does not answer. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unverified(Exception):
    """A write was accepted and does not read back as written."""


class MetricsUnavailable(Exception):
    """No count can be had or trusted; the message says why."""


@dataclass(frozen=True)
class Children:
    """A release's objects as the watches last told of them."""

    deployments: Collection[Json] = field(default_factory=tuple)
    services: Collection[Json] = field(default_factory=tuple)
    pods: Collection[Json] = field(default_factory=tuple)
    endpoint_slices: Collection[Json] = field(default_factory=tuple)
    autoscalers: Collection[Json] = field(default_factory=tuple)
    budgets: Collection[Json] = field(default_factory=tuple)
    plans: Collection[Json] = field(default_factory=tuple)


@dataclass(frozen=True)
class Question:
    """What to count of a release: all that happened in (since, until].

    `pods` has, for each revision, those of its pods that must have been scraped; `again` is the end of the interval
    that will be asked for next. `queries` are PromQL by name, each for one number at `until`.
    """

    namespace: str
    release: str
    pods: Mapping[str, Collection[str]]
    since: datetime
    until: datetime
    again: datetime
    queries: Mapping[str, str] = field(default_factory=dict)
    copied_to: str = ""
    """The revision that gets, or got, copies of requests; empty: none."""


@dataclass(frozen=True)
class Answer:
    """Counts by revision, and numbers by query: None for an answer without a number, a text for a query that failed."""

    counts: Mapping[str, RequestCounts]
    copies: Copies | None = None
    """Of the requests that were copied; None when it was not asked for."""
    custom: Mapping[str, float | str | None] = field(default_factory=dict)


class Store(Protocol):
    """The release resources themselves: read live, so that a pass never decides on a stale status."""

    async def read(self, namespace: str, name: str) -> Json | None:
        """The stored object; None when it is gone."""

    async def write_status(self, body: Json, status: Json) -> str:
        """Replace the status of exactly this version of the object; returns the new resource version.

        Raises:
            Conflict: the object has changed since.
        """


class Objects(Protocol):
    """The objects that belong to a release."""

    async def apply(self, manifest: Json) -> None:
        """Server-side apply as the operator's field manager: fields of others stay."""

    async def apply_unscaled(self, manifest: Json) -> None:
        """Apply a manifest without `spec.replicas`, and let go of their number: it stays what it is."""

    async def delete(self, manifest: Json) -> None:
        """Delete; one that is gone already is fine."""


class Watched(Protocol):
    """What the watches know."""

    def children(self, namespace: str, release: str) -> Children:
        """The objects of one release."""


class Router(Protocol):
    """One way to split traffic. To add one: a file in `adapters/routers`, a line in its registry, a value in `api`."""

    async def read(self, release: Release) -> Route:
        """The split as it stands, read live."""

    async def set_weight(self, release: Release, weight: int) -> None:
        """Give the canary `weight` percent, creating the route when it is missing, and read it back.

        Raises:
            Unverified: the split does not read back as written.
        """


class Metrics(Protocol):
    """What revisions did."""

    async def count(self, question: Question) -> Answer:
        """What each revision did in the interval; a revision without series is left out.

        Raises:
            MetricsUnavailable: the query failed, or its answer cannot be trusted.
        """


class Audience(Protocol):
    """Who is told: events on the release, log lines, metrics."""

    async def tell(self, release: Release, notice: Notice) -> None:
        """Publish one notice; never raises, a lost event must not stop a rollback."""
