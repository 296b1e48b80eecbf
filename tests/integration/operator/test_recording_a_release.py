"""A release recorded from Prometheus into a file, and judged again from there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_operator.cli.__main__ import main
from iris_operator.cli.replay import read_rows
from support.operator.pods import Pod, await_scrapes, running
from support.servers.fixtures import StartPrometheus
from support.servers.prometheus import Prometheus

STABLE, CANARY = "aaaaaaaaaa", "bbbbbbbbbb"
RELEASE = {"namespace": "iris", "release": "iris"}
WEIGHT = ("iris_release_weight", "kind", "confirmed")
TRIED = ("iris_release_info", "canary", "8.0.0")


def pod(name: str, revision: str) -> Pod:
    return Pod({**RELEASE, "revision": revision, "pod": name})


@pytest.fixture
def operator() -> Pod:
    """The operator's metrics of the release; there is no canary yet."""
    labels = {**RELEASE, "pod": "operator", "stable_revision": STABLE, "canary_revision": CANARY}
    return Pod(labels, counters={WEIGHT: 0})


@pytest.fixture
def stable() -> Pod:
    return pod("stable-0", STABLE)


@pytest.fixture
def canary() -> Pod:
    return pod("canary-0", CANARY)


@pytest.fixture
def prometheus(start_prometheus: StartPrometheus, operator: Pod, stable: Pod, canary: Pod) -> Iterator[Prometheus]:
    with running(operator, stable, canary):
        targets = [each.target for each in (operator, stable, canary)]
        started = start_prometheus([{"job_name": "all", "honor_labels": True, "static_configs": targets}])
        await_scrapes(operator, stable, canary)
        yield started


def released(operator: Pod, stable: Pod, canary: Pod) -> None:
    """Stable alone, then the canary at 30 %, all of whose answers are wrong, and then it is rolled back."""
    stable.serve(300, wrong=3)
    await_scrapes(operator, stable, canary, more=3)
    operator.counters |= {TRIED: 1}
    await_scrapes(operator)
    operator.counters[WEIGHT] = 30
    for _ in range(3):
        stable.serve(70, slow=7, wrong=1, cached=35)
        stable.relay(CANARY, correct=0, incorrect=10)
        canary.serve(30, errors=2, wrong=20)
        await_scrapes(operator, stable, canary, more=3)
    operator.counters[WEIGHT] = 0
    del operator.counters[TRIED]
    await_scrapes(operator, stable, canary)


def test_what_is_recorded_is_what_happened_and_can_be_judged_again(
    prometheus: Prometheus, operator: Pod, stable: Pod, canary: Pod, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released(operator, stable, canary)
    file = tmp_path / "out.csv"
    wanted = ("--release", "iris", "--version", "8.0.0", "--interval", "3s", "--prometheus", prometheus.url)
    assert main(["record", str(file), *wanted]) == 0

    rows = list(read_rows(file))
    beside = [row.interval for row in rows if not row.stable_only]
    assert rows[0].stable_only
    assert {row.next_weight for row in rows} <= {30, 100}
    # The last counts may lie after the last whole interval.
    assert 30 <= sum(each.canary.total for each in beside if each.canary) <= 90
    for each in beside:
        assert each.canary is not None
        assert each.canary.incorrect is not None
        assert each.canary.incorrect == each.canary.total
        assert each.canary.server_errors * 15 == each.canary.total
        assert each.stable is not None
        assert each.stable.cached is not None
        assert each.stable.cached["local"] == dict.fromkeys((0.01, 0.1, math.inf), each.stable.total // 2)
        assert each.canary.by_class == {"setosa": each.canary.total - each.canary.server_errors, "virginica": 0}
    assert main(["replay", str(file), "--max-drop", "0.02"]) == 1
    assert "accuracy Fail" in capsys.readouterr().out


def test_a_version_that_was_never_released_is_reported_as_unknown(
    prometheus: Prometheus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.csv"
    arguments = ["record", str(file), "--release", "iris", "--version", "9.9.9", "--prometheus", prometheus.url]
    assert main(arguments) == 2
    assert "no rollout of version 9.9.9 of iris/iris" in capsys.readouterr().err
    assert not file.exists()
