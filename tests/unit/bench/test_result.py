"""The result, as JSON and as a table."""

import dataclasses
import io
import json
from pathlib import Path

from rich.console import Console

from bench.inference import result, table
from bench.inference.bounds import bounds, medians_by_case
from bench.inference.image import ImageSize
from bench.inference.machine import Machine
from bench.inference.result import Result, Setting
from bench.inference.run import Run
from unit.bench.test_bounds import run

IMAGE = ImageSize(300e6, "an image")


def of(*runs: Run, ready: float = 1.5, image: ImageSize = IMAGE) -> Result:
    found = medians_by_case(runs)
    return Result(
        commit="0123456789ab",
        started_at="2024-01-31T12:00:00+00:00",
        machine=Machine("a processor", 2, 23.5, "6.1", "3.11.2", virtual=True),
        versions={"mlserver": {"mlserver": "1.7.1"}},
        setting=Setting(1, 1, 3, 32, 1, ("a note",)),
        bounds=bounds(found, ready, image),
        medians=found,
        ready_seconds=[ready],
        runs=list(runs),
    )


GOOD = (
    run("bare", rate=1_000.0),
    run("ours", rate=500.0),
    run("mlserver", rate=40.0),
    run("ours-forest", rate=450.0),
    run("mlserver-forest", rate=7.0),
    run("ours-batch", rate=700.0, predictions_rate=179_200.0),
)


def shown(of: Result) -> str:
    console = Console(width=110, record=True, file=io.StringIO())
    table.show(of, console)
    return console.export_text()


def test_a_result_passes_when_every_bound_is_met() -> None:
    assert of(*GOOD).passed
    assert "PASSED" in shown(of(*GOOD))


def test_a_missed_bound_fails_it_and_is_named() -> None:
    missed = of(*GOOD, ready=3.5)
    assert not missed.passed
    line = next(line for line in shown(missed).splitlines() if "start to ready" in line)
    assert "3.50 s" in line
    assert "MISSED" in line


def test_a_void_run_fails_the_result() -> None:
    void = of(*GOOD, run("bentoml", void=["3 of 100 requests failed"]))
    assert not void.passed
    assert "void: bentoml, repetition 1: 3 of 100 requests failed" in shown(void)


def test_an_unmeasured_bound_does_not_fail_the_result_but_is_reported() -> None:
    unbuilt = of(*GOOD, image=ImageSize(None, "not built; make images"))
    assert unbuilt.passed
    line = next(line for line in shown(unbuilt).splitlines() if "image" in line)
    assert "not built; make images" in line
    assert "not measured" in line


def test_the_table_has_the_share_of_the_bare_application() -> None:
    line = next(line for line in shown(of(*GOOD)).splitlines() if line.lstrip().startswith("ours  "))
    assert "0.500" in line


def test_the_json_has_every_repetition_and_every_verdict(tmp_path: Path) -> None:
    runs = (*GOOD, run("bare", rate=1_200.0, repetition=1))
    path = tmp_path / "new folder" / "result.json"
    result.write(of(*runs), path)
    written = json.loads(path.read_text())
    assert written["passed"] is True
    assert written["runs"] == [dataclasses.asdict(one) for one in runs]
    assert written["medians"]["bare"]["rate"] == 1_100
    assert [bound["met"] for bound in written["bounds"]] == [True] * 8
    assert list(path.parent.iterdir()) == [path]


def test_a_server_without_its_whole_core_is_marked_as_doubtful() -> None:
    assert "doubtful: bentoml had only 60% of its core" in shown(
        of(*GOOD, run("bentoml", shares={"server": 0.6, "wrk": 0.9}))
    )
    assert "doubtful" not in shown(of(*GOOD))
