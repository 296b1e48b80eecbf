"""What to count for the judgement of a release: of which revisions and pods, from when on, and which custom queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from iris_operator.api import names
from iris_operator.api.durations import parse_duration
from iris_operator.engine.pods import ready_since, serving_since
from iris_operator.engine.ports import MetricsQuery, OwnedObjects
from iris_operator.engine.release import Release


def control_group_of(release: Release) -> str:
    """The revision label of the rollout's control group; empty when it has none.

    That is decided when a rollout begins: a later change of `analysis.control` is for the next one.
    """
    return release.status.control.revision if release.status.control else ""


def build_query(
    release: Release, owned: OwnedObjects, since: datetime, until: datetime, next_until: datetime, lag: timedelta
) -> MetricsQuery:
    """The query for all that happened after `since` and has been scraped at `until`.

    Pods that have been ready for `lag` at that time must have been scraped.
    """
    status = release.status
    revisions = [ref.revision for ref in (status.canary, status.stable) if ref]
    control = control_group_of(release)
    has_shadow_step = any(step.shadow for step in release.spec.rollout.steps)
    stable = status.stable.revision if status.stable else ""
    variables = {
        "$namespace": release.namespace,
        "$release": release.name,
        "$canary": status.canary.revision if status.canary else "",
        "$stable": stable,
        # What the canary is compared with: without a control group, all of stable.
        "$control": control or stable,
    }
    warm_up = timedelta(seconds=parse_duration(release.spec.rollout.warm_up))
    traffic_since = status.rollout.traffic_since
    return MetricsQuery(
        namespace=release.namespace,
        release=release.name,
        expected_pods={
            revision: _expected_pods(owned, revision, until - lag)
            for revision in (*revisions, *([control] if control else []))
        },
        since=since,
        until=until,
        next_until=next_until,
        queries={check.name: _substitute(check.query, variables) for check in release.spec.analysis.checks.custom},
        shadow_revision=status.canary.revision if status.canary and has_shadow_step else "",
        shadow_control=control if has_shadow_step else "",
        warm_since={
            pod: max(moment, traffic_since or moment) + warm_up for pod, moment in _serving_since(owned).items()
        },
        others_warm_since=traffic_since + warm_up if traffic_since else None,
    )


def baseline_query(query: MetricsQuery, stable: str, split_at: Sequence[datetime]) -> MetricsQuery:
    """The query for stable alone: the other pods have no requests yet, and custom queries no result."""
    pods = {stable: query.expected_pods[stable]}
    return replace(query, expected_pods=pods, queries={}, shadow_revision="", shadow_control="", split_at=split_at)


def _expected_pods(owned: OwnedObjects, revision: str, moment: datetime) -> tuple[str, ...]:
    """The revision's pods that were ready at that moment and still are."""
    return tuple(
        pod["metadata"]["name"]
        for pod in owned.pods
        if (pod["metadata"].get("labels") or {}).get(names.LABEL_REVISION) == revision
        and "deletionTimestamp" not in pod["metadata"]
        and (since := ready_since(pod)) is not None
        and since <= moment
    )


def _serving_since(owned: OwnedObjects) -> Mapping[str, datetime]:
    return {pod["metadata"]["name"]: since for pod in owned.pods if (since := serving_since(pod)) is not None}


def _substitute(query: str, variables: Mapping[str, str]) -> str:
    """The query with the variables in place; any other `$` is PromQL's own."""
    for variable, value in variables.items():
        query = query.replace(variable, value)
    return query
