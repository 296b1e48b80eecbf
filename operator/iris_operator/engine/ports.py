"""What the engine needs from outside. Adapters implement these Protocols; tests bring their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from iris_operator.analysis.counts import RequestCounts, ShadowCounts
from iris_operator.engine.release import Release
from iris_operator.rollout.decision import Event
from iris_operator.rollout.observation import Route

Json = Mapping[str, Any]


class Conflict(Exception):
    """The object has changed since it was read: read and decide again."""


class NotLeader(Conflict):
    """Another operator leads, or may: this one has written nothing and must not."""


class Forbidden(Exception):
    """The operator's Role lacks a right; the message names it."""


class Unavailable(Exception):
    """The API server rejects the request for now, or does not answer. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerError(Unavailable):
    """The API server fails at this request: an outage, or a request that it can never serve. It does not say which."""


class Refused(Exception):
    """The API server, a webhook or a policy rejects the object itself, now and later; the message names the field."""


class Unverified(Exception):
    """A write was accepted and does not read back as written."""


class NameTaken(Exception):
    """An object of somebody else has a name that the release needs; the message names kind, name and owner."""


class MetricsUnavailable(Exception):
    """There is no count, or none that can be trusted; the message has the reason."""


@dataclass(frozen=True)
class OwnedObjects:
    """A release's objects as the watches last reported them."""

    deployments: Collection[Json] = field(default_factory=tuple)
    services: Collection[Json] = field(default_factory=tuple)
    pods: Collection[Json] = field(default_factory=tuple)
    endpoint_slices: Collection[Json] = field(default_factory=tuple)
    autoscalers: Collection[Json] = field(default_factory=tuple)
    disruption_budgets: Collection[Json] = field(default_factory=tuple)
    config_maps: Collection[Json] = field(default_factory=tuple)


@dataclass(frozen=True)
class MetricsQuery:
    """What to count of a release: all that happened after `since`, as far as it has been scraped at `until`.

    `expected_pods` has, for each revision, those of its pods that must have been scraped; `next_until` is the end of
    the interval of the next query. `queries` are PromQL by name, each for one number at `until`. Durations of what a
    pod answered before its `warm_since` are left out; `others_warm_since` is that moment for pods that are not named,
    because they are gone. With `split_at`, moments in ascending order, the counts are also returned in parts.
    """

    namespace: str
    release: str
    expected_pods: Mapping[str, Collection[str]]
    since: datetime
    until: datetime
    next_until: datetime
    queries: Mapping[str, str] = field(default_factory=dict)
    shadow_revision: str = ""
    """The revision that requests are, or were, mirrored to; empty: none."""
    shadow_control: str = ""
    """The revision of the control group that gets the same requests; empty: none."""
    warm_since: Mapping[str, datetime] = field(default_factory=dict)
    others_warm_since: datetime | None = None
    split_at: Sequence[datetime] = ()


@dataclass(frozen=True)
class MetricsResult:
    """Counts by revision, and numbers by query: None for an empty result, a text for a query that failed.

    The counts are of (since, `until`]: up to the newest moment to which all expected pods have been scraped, which is
    `since` when that is no later. None: up to the end that was asked for.
    """

    counts: Mapping[str, RequestCounts]
    shadow: ShadowCounts | None = None
    """Of the mirrored requests; None when the query has no shadow revision."""
    custom: Mapping[str, float | str | None] = field(default_factory=dict)
    until: datetime | None = None
    parts: Sequence[Mapping[str, RequestCounts]] = ()
    """The counts by revision between the moments of `split_at`, in order; empty without such moments."""


class Store(Protocol):
    """The release resources themselves: read live, so that no decision rests on a stale status."""

    async def read(self, namespace: str, name: str) -> Json | None:
        """The stored object; None when it is gone."""

    async def is_namespace_terminating(self, namespace: str) -> bool:
        """Is the whole namespace being deleted? False without the right to know."""

    async def write_status(self, body: Json, status: Json) -> str:
        """Replace the status of exactly this version of the object; returns the new resource version.

        Raises:
            Conflict: the object has changed since.
        """


class Objects(Protocol):
    """The objects that belong to a release. An object of somebody else is neither written nor deleted."""

    async def apply(self, manifest: Json) -> None:
        """Server-side apply as the operator's field manager: fields of others stay, unless they break service.

        Raises:
            NameTaken: an object of somebody else has the name.
            Conflict: it changed its owner, or was created, between the look at it and the write.
        """

    async def apply_unscaled(self, manifest: Json) -> None:
        """Apply a manifest without `spec.replicas` and give up that field: its value does not change."""

    async def delete(self, manifest: Json) -> None:
        """Delete; one that is gone already is fine. Of the manifest only kind and metadata count.

        Raises:
            NameTaken, Conflict: as for `apply`.
        """


class Lister(Protocol):
    """The watched objects, from memory."""

    def owned_objects(self, namespace: str, release: str) -> OwnedObjects:
        """The objects of one release."""


class Router(Protocol):
    """One way to split traffic. To add one: a file in `adapters/routers`, a line in its registry, a value in `api`."""

    async def read(self, release: Release) -> Route:
        """The present split, read live."""

    async def set_weight(self, release: Release, weight: int) -> None:
        """Give the canary `weight` percent, creating the route when it is missing, and read it back.

        Raises:
            Unverified: the split does not read back as written.
        """


class Metrics(Protocol):
    """Counts of the requests to revisions."""

    async def count(self, query: MetricsQuery) -> MetricsResult:
        """The counts of each revision in the interval; a revision without series is left out.

        Every request is in one interval, when each begins where the previous one ended.

        Raises:
            MetricsUnavailable: the query failed, or its answer cannot be trusted.
        """


class EventRecorder(Protocol):
    """Where events go: to the release as Kubernetes events, to the log, to the metrics."""

    async def record(self, release: Release, event: Event) -> None:
        """Publish one event; never raises, because a lost event must not stop a rollback."""
