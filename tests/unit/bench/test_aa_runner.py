"""The order in which the benchmark deploys, loads, releases and removes, against a cluster of a few lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.aa import runner
from bench.aa.plan import FAULTS, IDENTICAL_CASES, Case, Group
from bench.aa.record import MachineLoad, Record
from bench.aa.runner import BenchError, RunConfig
from iris_demo import access
from iris_demo.load import LoadConfig
from iris_demo.observations import HistoryEntry, Observation, Release, ReleaseObserved

FIRST, SECOND = IDENTICAL_CASES[0], IDENTICAL_CASES[1]
SLOWER = FAULTS[0]


class Cluster:
    """Deploys a first version and then ends each rollout as the next of ``outcomes`` says."""

    def __init__(self, *outcomes: str) -> None:
        self.outcomes: Iterator[str] = iter(outcomes)
        self.calls: list[str] = []
        self.rates: list[float] = []
        self.observations: list[Observation] = []
        self.stable = ""
        self.answers = True
        self.loads = [MachineLoad(0.5, 0.0, 0.0)] * 100

    async def apply(self, _resource: object, made: dict[str, Any]) -> None:
        version = made["spec"]["model"]["version"]
        outcome = next(self.outcomes) if self.stable else "Promoted"
        self.calls.append(f"apply {version.rpartition('.')[2]}" if self.stable else "deploy")
        history = (HistoryEntry(version, outcome, f"{outcome}, it said"),)
        release = Release(version, 2, 2, stable=self.stable, history=history)
        if outcome == "Promoted":
            self.stable = version
            release = Release(version, 2, 2, phase="Stable", stable=version, promoted="True", history=history)
        elif outcome == "RolledBack":
            release = Release(version, 2, 2, phase="RolledBack", stable=self.stable, history=history)
        self.observations.append(ReleaseObserved(time.time(), release))

    async def delete(self, *_: object) -> None:
        self.calls.append("delete")
        self.stable = ""

    async def list(self, *_: object, **__: object) -> list[object]:
        return []

    async def wait_for(self, *arguments: Any) -> ReleaseObserved | None:
        if len(arguments) > 2:  # the client's, for an object to be gone
            return None
        condition: Callable[[ReleaseObserved], bool] = arguments[0]
        newest = self.observations[-1]
        assert isinstance(newest, ReleaseObserved)
        if not condition(newest):
            raise TimeoutError
        return newest


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    def made(*outcomes: str) -> Cluster:
        cluster = Cluster(*outcomes)

        @asynccontextmanager
        async def cluster_for(*_: object) -> AsyncIterator[Cluster]:
            yield cluster

        @asynccontextmanager
        async def load(config: LoadConfig) -> AsyncIterator[SimpleNamespace]:
            cluster.rates.append(config.rate)
            yield SimpleNamespace(samples=[])

        async def key(*_: object) -> str:
            return "key"

        async def serving(*_: object) -> None:
            if not cluster.answers:
                raise TimeoutError

        async def sleep(_: float) -> None:
            return None

        monkeypatch.setattr(runner, "connect", cluster_for)
        monkeypatch.setattr(runner, "watch_release", cluster_for)
        monkeypatch.setattr(runner, "run_load", load)
        monkeypatch.setattr(access, "create_key", key)
        monkeypatch.setattr(runner, "wait_until_serving", serving)
        monkeypatch.setattr(runner, "local_ca_certificate", lambda: Path("ca.crt"))
        monkeypatch.setattr(runner, "machine_load", lambda *_: cluster.loads.pop(0))
        monkeypatch.setattr(runner, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))
        return cluster

    return made


async def run(*groups: Group, parallel: int = 1) -> list[Record]:
    records: list[Record] = []
    await runner.run(RunConfig(list(groups), parallel, Path("kubeconfig")), lambda _: None, records.append)
    return records


def group(*cases: Case) -> Group:
    return Group("bench-aa-test", cases)


async def test_identical_versions_are_released_one_after_the_other_from_one_deployment(
    make: Callable[..., Cluster],
) -> None:
    cluster = make("Promoted", "RolledBack", "Promoted")
    records = await run(group(FIRST, SECOND, FIRST))
    assert cluster.calls == ["delete", "deploy", "apply 2", "apply 3", "apply 4", "delete"]
    assert cluster.rates == [FIRST.rate, SECOND.rate, FIRST.rate]
    assert [record.outcome for record in records] == ["Promoted", "RolledBack", "Promoted"]
    assert records[1].reason == "RolledBack, it said"


async def test_a_faulty_version_that_was_promoted_is_not_what_the_next_one_begins_from(
    make: Callable[..., Cluster],
) -> None:
    cluster = make("RolledBack", "Promoted", "RolledBack")
    await run(group(SLOWER, SLOWER, SLOWER))
    assert cluster.calls == ["delete", "deploy", "apply 2", "apply 3", "delete", "deploy", "apply 5", "delete"]


async def test_a_rollout_that_does_not_end_is_undecided_and_the_next_one_begins_anew(
    make: Callable[..., Cluster],
) -> None:
    cluster = make("never", "Promoted")
    records = await run(group(FIRST, FIRST))
    assert [record.outcome for record in records] == ["Undecided", "Promoted"]
    assert cluster.calls.count("deploy") == 2


async def test_a_rollout_on_a_busy_machine_is_made_once_more_and_keeps_the_first(make: Callable[..., Cluster]) -> None:
    cluster = make("RolledBack", "Promoted")
    busy = MachineLoad(0.01, 0.0, 0.0)
    cluster.loads = [busy, busy]
    (record,) = await run(group(FIRST))
    assert (record.outcome, record.machine) == ("Promoted", busy)
    assert record.repeated is not None
    assert record.repeated.outcome == "RolledBack"


async def test_a_first_version_that_does_not_answer_ends_the_benchmark_and_is_removed(
    make: Callable[..., Cluster],
) -> None:
    cluster = make()
    cluster.answers = False
    with pytest.raises(BenchError, match="bench-aa-test: the first version was not deployed"):
        await run(group(FIRST))
    assert cluster.calls[-1] == "delete"
