"""Which pods, revisions and queries a judgement asks for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from iris_operator.api import names
from iris_operator.engine.metrics_query import baseline_query, build_query, control_group_of
from iris_operator.engine.ports import MetricsQuery, OwnedObjects
from iris_operator.engine.release import Release
from support.operator.parsed_release import CANARY, CONTROL, NOON, STABLE, release

LAG = timedelta(seconds=10)


def pod(name: str, revision: str, ready: datetime | None, **metadata: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    labels = {names.LABEL_REVISION: revision}
    return {
        "metadata": {"name": name, "labels": labels, **metadata},
        "status": {"conditions": [condition | ({"lastTransitionTime": ready.isoformat()} if ready else {})]},
    }


def query(of: Release, *pods: dict[str, Any], until: datetime = NOON) -> MetricsQuery:
    return build_query(of, OwnedObjects(pods=pods), until - LAG, until, until + LAG, LAG)


def test_the_control_group_is_counted_as_a_revision_of_its_own() -> None:
    old = NOON - timedelta(minutes=5)
    asked = query(release(), pod("c", CANARY, old), pod("k", CONTROL, old), pod("s", STABLE, old))
    assert asked.expected_pods == {CANARY: ("c",), STABLE: ("s",), CONTROL: ("k",)}


def test_without_a_control_group_two_revisions_are_counted() -> None:
    assert control_group_of(release(control=False)) == ""
    assert list(query(release(control=False)).expected_pods) == [CANARY, STABLE]


def test_a_control_group_is_counted_to_the_end_of_its_rollout_whatever_the_spec_says_meanwhile() -> None:
    assert CONTROL in query(release(spec={"analysis": {"control": "Stable"}})).expected_pods


def test_pods_must_have_been_scraped_when_they_were_ready_for_the_lag() -> None:
    asked = query(
        release(),
        pod("old", CONTROL, NOON - LAG),
        pod("new", CONTROL, NOON - LAG + timedelta(seconds=1)),
        pod("unready", CONTROL, None),
        pod("leaving", CONTROL, NOON - 2 * LAG, deletionTimestamp=NOON.isoformat()),
    )
    assert asked.expected_pods[CONTROL] == ("old",)


def test_a_pod_warms_up_since_it_is_ready_and_there_is_traffic() -> None:
    since = NOON - timedelta(seconds=60)
    asked = query(
        release(trafficSince=since.isoformat()),
        pod("old", STABLE, NOON - timedelta(hours=1)),
        pod("new", CANARY, NOON - timedelta(seconds=20)),
        pod("unready", CONTROL, None, creationTimestamp=(NOON - timedelta(seconds=40)).isoformat()),
        pod("unknown", CONTROL, None),
    )
    assert asked.warm_since == {
        "old": NOON - timedelta(seconds=30),
        "new": NOON + timedelta(seconds=10),
        "unready": NOON - timedelta(seconds=10),
    }
    assert asked.others_warm_since == NOON - timedelta(seconds=30)


def test_before_the_traffic_a_pod_warms_up_since_it_is_ready() -> None:
    spec = {"rollout": {"steps": [{"weight": 10}], "warmUp": "45s"}}
    asked = query(release(spec=spec), pod("old", STABLE, NOON - timedelta(hours=1)))
    assert asked.warm_since == {"old": NOON - timedelta(hours=1) + timedelta(seconds=45)}
    assert asked.others_warm_since is None


def custom(text: str) -> dict[str, Any]:
    return {"analysis": {"checks": {"custom": [{"name": "cost", "query": text, "max": 5}]}}}


@pytest.mark.parametrize(("control", "compared"), [(True, CONTROL), (False, STABLE)])
def test_a_custom_query_names_what_the_canary_is_compared_with(control: bool, compared: str) -> None:
    text = 'a{revision="$canary"} / a{revision="$control"} unless b{revision="$stable"}'
    asked = query(release(control=control, spec=custom(text)))
    assert asked.queries == {
        "cost": f'a{{revision="{CANARY}"}} / a{{revision="{compared}"}} unless b{{revision="{STABLE}"}}'
    }


def test_a_baseline_is_of_stable_alone() -> None:
    of = release(spec=custom("up"))
    asked = baseline_query(query(of, pod("s", STABLE, NOON - 2 * LAG)), STABLE, [NOON - LAG])
    assert (asked.expected_pods, asked.queries, asked.split_at) == ({STABLE: ("s",)}, {}, [NOON - LAG])
