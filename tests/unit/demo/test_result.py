from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from iris_demo import summary
from iris_demo.cli import write
from iris_demo.counts import LabelCounts, Second, Totals
from iris_demo.judge import ROLLED_BACK, Expectation, ReleaseReport, RollbackDelays, WeightStep
from iris_demo.result import DemoResult, OperatorCost, as_json

TOTALS = Totals(10, 8, {"status 500": 2}, {"1.0.0": 8, "3.0.0": 2}, {"3.0.0": 2})
REPORT = ReleaseReport(
    expected=Expectation("3.0.0", "expects other features", ROLLED_BACK, "ErrorRate"),
    outcome=ROLLED_BACK,
    reason="errorRate: 2 of 2",
    seconds=30.04,
    steps=(WeightStep(0, 10.0), WeightStep(10, 15.5)),
    rollback_delays=RollbackDelays(from_failed_answer=5.123, from_fail_verdict=0.5),
    requests=TOTALS,
    unexplained=0,
    problems=(),
)
RESULT = DemoResult(
    started=1000.0,
    seconds=60.0,
    rate=60.0,
    requested=1,
    reports=(REPORT,),
    requests=TOTALS,
    labels={"1.0.0": LabelCounts(39, 1, 0), "3.0.0": LabelCounts(4, 6, 2)},
    unexplained=0,
    history=(Second(0, 10, 2, {"1.0.0": 8, "3.0.0": 2}),),
    operator=OperatorCost(70 * 1024 * 1024, 10.0, ()),
)


def test_a_run_passes_only_when_all_of_it_was_as_expected() -> None:
    assert RESULT.passed
    assert not replace(RESULT, requested=2).passed, "a release was not reached"
    assert not replace(RESULT, reports=(replace(REPORT, problems=("late",)),)).passed
    assert not replace(RESULT, unexplained=1).passed
    assert not replace(RESULT, requests=Totals()).passed, "no traffic proves nothing"


def test_the_json_has_what_the_summary_shows() -> None:
    written = json.loads(json.dumps(as_json(RESULT)))
    assert written["passed"] is True
    (release,) = written["releases"]
    assert release["steps"] == [{"weight": 0, "seconds": 10.0}, {"weight": 10, "seconds": 15.5}]
    assert release["secondsToWeightZero"] == {"fromFailedAnswer": 5.12, "fromSlowAnswer": None, "fromFailVerdict": 0.5}
    assert release["requests"]["byVersion"] == {"1.0.0": 8, "3.0.0": 2}
    assert release["requests"]["failed"] == 2
    assert written["history"] == [{"second": 0, "sent": 10, "failed": 2, "byVersion": {"1.0.0": 8, "3.0.0": 2}}]


def test_labels_are_reported_by_version() -> None:
    written = json.loads(json.dumps(as_json(RESULT)))
    assert written["labels"]["3.0.0"] == {"correct": 4, "incorrect": 6, "lost": 2}
    output = StringIO()
    summary.print_summary(RESULT, Console(file=output, width=200))
    assert "1.0.0 right in 39 of 40, 3.0.0 right in 4 of 10; 2 lost." in output.getvalue()


def test_the_table_names_release_outcome_and_reason() -> None:
    out = StringIO()
    summary.print_summary(RESULT, Console(file=out, width=200))
    shown = out.getvalue()
    for part in ("3.0.0", "RolledBack", "errorRate: 2 of 2", "70 MiB", "PASSED"):
        assert part in shown


def test_the_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "demo.json"
    write(RESULT, path)
    write(RESULT, path)
    assert json.loads(path.read_text())["passed"] is True
    assert [entry.name for entry in path.parent.iterdir()] == ["demo.json"]
