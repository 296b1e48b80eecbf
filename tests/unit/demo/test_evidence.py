from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from iris_demo import evidence
from iris_demo.observations import Check, Observation, Release, ReleaseObserved, RouteObserved, release_of

RELEASE = Release(spec_version="8.0.0", generation=2, observed_generation=2)


def seen(at: float, accuracy: float, drift: float | None = None, version: str = "8.0.0") -> ReleaseObserved:
    checks = (Check("accuracy", "Hold", "", 1, accuracy), Check("predictionDrift", "Hold", "", 1, drift))
    weight = 30 if at > 100 else 0
    return ReleaseObserved(at, replace(RELEASE, spec_version=version, checks=checks, weight=weight))


OBSERVATIONS: list[Observation] = [
    seen(95.0, 0.9),
    seen(99.0, 0.9, version="7.0.0"),
    RouteObserved(101.9, 60),
    ReleaseObserved(102.0, replace(RELEASE, weight=30)),
    seen(105.0, 0.1),
    ReleaseObserved(106.0, replace(seen(106.0, 0.2).release, observed_generation=1)),
    seen(110.0, 1.5, 0.01),
    ReleaseObserved(110.5, RELEASE),
    seen(130.0, 3.0),
]


def test_each_check_has_the_points_observed_for_the_version_in_its_time() -> None:
    assert evidence.evidence_by_check(OBSERVATIONS, "8.0.0", 100.0, 120.0) == {
        "accuracy": ((5.0, 0.1), (10.0, 1.5)),
        "predictionDrift": ((10.0, 0.01),),
    }


def test_weights_are_listed_with_the_second_of_each_change() -> None:
    assert evidence.weight_changes(OBSERVATIONS, 100.0, 120.0) == ((0.0, 0.0), (2.0, 30.0), (10.5, 0.0), (20.0, 0.0))
    assert evidence.weight_changes([], 100.0, 120.0) == ((0.0, 0.0), (20.0, 0.0))


def test_the_data_is_a_csv_the_plot_a_png_and_without_evidence_nothing_is_plotted(tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "evidence.png"
    assert evidence.write_plot(OBSERVATIONS, "8.0.0", 100.0, 120.0, path) == path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.with_suffix(".csv").read_text(encoding="utf-8").splitlines() == [
        "second,weight,accuracy,predictionDrift",
        "0.0,0.0,,",
        "2.0,30.0,,",
        "5.0,,0.1,",
        "10.0,,1.5,0.01",
        "10.5,0.0,,",
        "20.0,0.0,,",
    ]
    assert evidence.write_plot(OBSERVATIONS, "5.0.0", 100.0, 120.0, tmp_path / "other.png") is None
    assert not (tmp_path / "other.png").exists()


def test_an_error_of_the_draw_command_is_reported(tmp_path: Path) -> None:
    (tmp_path / "evidence.png").mkdir()
    with pytest.raises(evidence.PlotError, match=r"evidence\.png"):
        evidence.write_plot(OBSERVATIONS, "8.0.0", 100.0, 120.0, tmp_path / "evidence.png")


def test_the_evidence_is_read_as_a_share_of_the_rollback_threshold() -> None:
    found = release_of(
        {
            "status": {
                "analysis": {
                    "checks": [
                        {"name": "accuracy", "verdict": "Hold", "evidence": {"worse": 50.0, "rollbackAt": 200.0}},
                        {"name": "errorRate", "verdict": "NoData"},
                    ]
                }
            }
        }
    )
    assert [check.evidence_share for check in found.checks] == [0.25, None]
