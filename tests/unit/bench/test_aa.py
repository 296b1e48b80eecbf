"""The benchmark of identical versions and of known faults: what is planned, recorded and required."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.aa import cli, table
from bench.aa.manifests import FAULTY_IMAGE, PLAIN_IMAGE, manifest, version_of
from bench.aa.plan import FAULTS, IDENTICAL, IDENTICAL_CASES, KINDS, Case, plan
from bench.aa.record import MachineLoad, Record, record_of
from bench.aa.result import Result, as_json, write
from bench.aa.runner import machine_load
from bench.aa.verdict import bounds, passed
from bench.inference.machine import Machine
from bench.inference.procfs import Ticks
from iris_demo.observations import Check, HistoryEntry, Observation, Release, ReleaseObserved, RouteObserved
from iris_demo.samples import Kind, Sample
from iris_local import catalog
from iris_operator.api.spec import ReleaseSpec

SLOWER, ERRORS = FAULTS[0], FAULTS[2]
IDLE = MachineLoad(idle=0.4, stolen=0.0, late_p99=0.004)
VERSION = version_of(7)
CANARY = Release(
    spec_version=VERSION, generation=2, observed_generation=2, phase="Progressing", stable="2.0.0", canary=VERSION
)


def cases(*only: str, rollouts: int = 24, repetitions: int = 3, quick: bool = False) -> list[Case]:
    return [case for group in plan(only, rollouts, repetitions, quick=quick) for case in group.cases]


def test_24_rollouts_of_an_identical_version_cover_what_is_promised() -> None:
    identical = [case for case in cases() if case.identical]
    assert len(identical) == len(IDENTICAL_CASES) == 24
    assert {case.replicas for case in identical} == {1, 2, 3}
    assert {(case.replicas, case.first_weight) for case in identical} == {
        (r, w) for r in (1, 2, 3) for w in (5, 10, 33)
    }
    assert {case.rate for case in identical} == {10, 30, 60, 100}
    assert {case.outcome for case in identical} == {"Promoted"}


def test_each_fault_is_made_three_times_from_one_release_object() -> None:
    groups = [group for group in plan((), 24, 3) if not group.cases[0].identical]
    assert [[case.kind for case in group.cases] for group in groups] == [[kind] * 3 for kind in KINDS[1:]]
    assert len({group.release for group in plan((), 24, 3)}) == len(plan((), 24, 3))


def test_a_part_of_the_plan_takes_every_number_of_replicas_in_turn() -> None:
    assert [case.replicas for case in cases(IDENTICAL, rollouts=4)] == [1, 1, 2, 3]
    assert [case.kind for case in cases("errors-5", "exchanged", repetitions=1)] == ["errors-5", "exchanged"]
    assert len(cases(quick=True)) == 3 + len(FAULTS)
    assert cases(IDENTICAL, rollouts=0) == []


def test_the_identical_rollouts_fit_into_the_time_for_them() -> None:
    assert sum(case.expected_seconds for case in cases(IDENTICAL)) < 75 * 60
    assert all(case.limit_seconds > 2 * case.expected_seconds for case in cases())


def test_a_rollout_changes_one_variable_and_no_margin() -> None:
    case = IDENTICAL_CASES[0]
    before, after = manifest("bench", case, 1)["spec"], manifest("bench", case, 2)["spec"]
    assert after["model"].pop("image") == before["model"].pop("image") == PLAIN_IMAGE
    assert after["model"].pop("version") != before["model"].pop("version")
    assert after["serving"]["env"].pop() == {"name": "BENCH_ROLLOUT", "value": "2"}
    before["serving"]["env"].pop()
    assert before == after
    assert "analysis" not in after
    assert "warmUp" not in after["rollout"]


@pytest.mark.parametrize("case", [IDENTICAL_CASES[0], *FAULTS], ids=lambda case: case.kind)
def test_every_release_is_valid_and_its_image_is_built(case: Case) -> None:
    made = ReleaseSpec.model_validate(manifest("bench", case, 3)["spec"])
    assert made.serving.replicas == case.replicas
    assert [step.weight for step in made.rollout.steps] == [case.first_weight, 50, 100]
    assert made.model.image in {image.name for image in catalog.project_images()}


def test_a_fault_is_in_the_canary_and_its_answers_name_its_version() -> None:
    def variables(*, stable: bool) -> dict[str, str]:
        spec = manifest("bench", SLOWER, 5, stable=stable)["spec"]
        assert spec["model"]["image"] == FAULTY_IMAGE
        return {each["name"]: each["value"] for each in spec["serving"]["env"]}

    assert variables(stable=True)["FAULT_WORK_MS"] == "20"
    assert variables(stable=False)["FAULT_WORK_MS"] == "40"
    assert variables(stable=False)["FAULT_VERSION"] == version_of(5)


def answer(due: float, version: str, status: int = 200, latency: float = 0.01) -> Sample:
    return Sample(due, latency, Kind.OK if status < 300 else Kind.STATUS, status, version)


def rolled_back() -> Record:
    said = "pods differ by 10 %: less than 20 % slower cannot be seen"
    checks = (Check("errorRate", "Fail", "9 of 90", 90, 1.5, 0.0),)
    ended = replace(
        CANARY,
        phase="RolledBack",
        canary="",
        promoted="False",
        checks=checks,
        history=(HistoryEntry(VERSION, "RolledBack", "ErrorRate: 9 of 90"),),
    )
    observations: list[Observation] = [
        ReleaseObserved(90.0, replace(ended, spec_version="older")),
        ReleaseObserved(101.0, replace(CANARY, resolution=said)),
        RouteObserved(105.0, 20),
        ReleaseObserved(105.2, replace(CANARY, weight=10, control_pods=1, resolution=said)),
        RouteObserved(125.0, 0),
        ReleaseObserved(126.0, ended),
        ReleaseObserved(140.0, ended),
    ]
    samples = [answer(95.0, "2.0.0", 500), *(answer(100.0 + second, "2.0.0") for second in range(26))]
    samples += [answer(105.5 + second, VERSION, 500 if second % 2 else 200, 0.05) for second in range(20)]
    return record_of(ERRORS, VERSION, observations, samples, (100.0, 126.0), IDLE)


def test_a_rollout_is_read_from_what_was_observed_in_its_time() -> None:
    record = rolled_back()
    assert (record.outcome, record.reason, record.as_expected) == ("RolledBack", "ErrorRate: 9 of 90", True)
    assert (record.seconds, record.requests, record.failed) == (26.0, 46, 10)
    assert [step.weight for step in record.shares] == [0, 10, 0]
    assert record.said_beforehand == "pods differ by 10 %: less than 20 % slower cannot be seen"
    assert record.control_pods == 1
    assert (record.p50, record.p99) == (0.01, 0.05)
    assert record.canary.seconds == pytest.approx(125.0 - 105.5)
    assert (record.canary.requests, record.canary.failed) == (20, 10)
    assert [(check.name, check.worse, check.good) for check in record.checks] == [("errorRate", 1.5, 0.0)]


def test_what_is_said_only_under_traffic_was_not_said_beforehand() -> None:
    late: list[Observation] = [
        ReleaseObserved(101.0, CANARY),
        RouteObserved(102.0, 20),
        ReleaseObserved(103.0, replace(CANARY, weight=10, resolution="use 3 pods")),
    ]
    record = record_of(ERRORS, VERSION, late, [], (100.0, 110.0), IDLE)
    assert (record.said_beforehand, record.said) == ("", ("use 3 pods",))
    assert record.outcome == "Undecided"
    assert record.canary.seconds is None


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (IDLE, ""),
        (replace(IDLE, idle=0.04), "only 4% idle"),
        (replace(IDLE, stolen=0.2), "20% stolen"),
        (replace(IDLE, late_p99=0.25), "requests sent up to 250 ms late"),
    ],
)
def test_a_machine_is_too_busy_for_one_of_three_reasons(machine: MachineLoad, reason: str) -> None:
    assert machine.too_busy == reason


def test_the_load_of_the_machine_is_that_of_all_cores() -> None:
    before = [Ticks(0, 0, 0), Ticks(100, 0, 200)]
    after = [Ticks(90, 10, 100), Ticks(130, 0, 300)]
    load = machine_load(before, after, [answer(1.0, "a")._replace(late=0.02)])
    assert [load.idle, load.stolen, load.late_p99] == pytest.approx([0.35, 0.05, 0.02])


def promoted(case: Case, **changes: Any) -> Record:
    return replace(rolled_back(), case=case, outcome="Promoted", reason="", **changes)


def test_one_identical_version_that_is_rolled_back_misses_two_bounds() -> None:
    good = [promoted(case) for case in IDENTICAL_CASES]
    assert passed(good, 24)
    assert not passed(good[1:], 24)
    bad = [replace(rolled_back(), case=IDENTICAL_CASES[0], machine=replace(IDLE, idle=0.0)), *good[1:]]
    assert [(bound.value, bound.wanted, bound.met) for bound in bounds(bad)] == [(1, 0, False), (23, 24, False)]


def test_a_fault_that_is_promoted_or_found_for_another_cause_is_not_found() -> None:
    found = replace(rolled_back(), case=SLOWER, reason="Latency: 2 times as slow")
    assert [bound.met for bound in bounds([found] * 3)] == [True]
    assert [bound.value for bound in bounds([found, promoted(SLOWER), replace(found, reason="Crash")])] == [1]


def test_what_is_not_to_be_seen_has_to_be_promoted() -> None:
    slightly = FAULTS[1]
    assert [bound.met for bound in bounds([promoted(slightly)])] == [True]
    assert [bound.met for bound in bounds([replace(rolled_back(), case=slightly)])] == [False]


def result(records: list[Record], planned: int, stopped: str = "") -> Result:
    machine = Machine("a processor", 2, 16.0, "6", "3.11", virtual=True)
    return Result("commit", "2026-01-01T00:00:00+00:00", 100.0, machine, planned, records, stopped)


def test_the_file_has_every_rollout_with_its_first_attempt(tmp_path: Path) -> None:
    busy = replace(rolled_back(), machine=replace(IDLE, idle=0.01))
    write(result([replace(rolled_back(), repeated=busy)], 1), tmp_path / "made" / "bench-aa.json")
    read = json.loads((tmp_path / "made" / "bench-aa.json").read_text())
    assert read["passed"]
    (rollout,) = read["rollouts"]
    assert rollout["canary"] == {"seconds": 19.5, "requests": 20, "failed": 10}
    assert rollout["machine"]["tooBusy"] == ""
    assert rollout["repeated"]["machine"]["tooBusy"] == "only 1% idle"


def test_an_interrupted_benchmark_has_not_passed() -> None:
    assert as_json(result([promoted(SLOWER)], 1, "interrupted"))["passed"] is False
    assert result([rolled_back()], 1).passed
    assert not result([rolled_back()], 1, "interrupted").passed


def test_the_tables_have_a_row_for_each_rollout_and_every_bound() -> None:
    printed = StringIO()
    console = Console(width=140, file=printed)
    busy = replace(promoted(IDENTICAL_CASES[0]), machine=replace(IDLE, idle=0.01))
    table.show(result([busy, rolled_back()], 3), console)
    text = printed.getvalue()
    assert "✓ Promoted" in text
    assert "✓ RolledBack" in text
    assert "20/10" in text
    assert "1%!" in text
    assert "said beforehand: pods differ by 10 %" in text
    assert "the machine was too busy to mean anything: only 1% idle" in text
    assert "met    identical versions rolled back: 0, required 0" in text
    assert "MISSED only 2 of 3 rollouts were made" in text


def test_a_dry_run_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--dry-run", "--only", "errors-5"]) == 0
    assert "3 rollouts" in capsys.readouterr().out
