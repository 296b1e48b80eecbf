from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from iris_demo import evidence
from iris_demo.observations import Check, Observation, Release, ReleaseSeen, RouteSeen, release_of

RELEASE = Release(wanted="8.0.0", generation=2, observed=2)


def seen(at: float, accuracy: float, drift: float | None = None, version: str = "8.0.0") -> ReleaseSeen:
    checks = (Check("accuracy", "Hold", "", 1, accuracy), Check("predictionDrift", "Hold", "", 1, drift))
    return ReleaseSeen(at, replace(RELEASE, wanted=version, checks=checks))


OBSERVATIONS: list[Observation] = [
    seen(95.0, 0.9),
    seen(99.0, 0.9, version="7.0.0"),
    RouteSeen(102.0, 30),
    seen(105.0, 0.1),
    ReleaseSeen(106.0, replace(seen(106.0, 0.2).release, observed=1)),
    seen(110.0, 1.5, 0.01),
    RouteSeen(110.5, 0),
    seen(130.0, 3.0),
]


def test_each_check_has_a_line_of_what_was_said_of_the_version_in_its_time() -> None:
    assert evidence.lines(OBSERVATIONS, "8.0.0", 100.0, 120.0) == {
        "accuracy": ((5.0, 0.1), (10.0, 1.5)),
        "predictionDrift": ((10.0, 0.01),),
    }


def test_the_weights_are_there_from_the_second_on_at_which_they_came() -> None:
    assert evidence.weights(OBSERVATIONS, 100.0, 120.0) == ((0.0, 0.0), (2.0, 30.0), (10.5, 0.0), (20.0, 0.0))
    assert evidence.weights([], 100.0, 120.0) == ((0.0, 0.0), (20.0, 0.0))


def test_the_figures_are_a_csv_the_picture_is_a_png_and_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "evidence.png"
    assert evidence.write(OBSERVATIONS, "8.0.0", 100.0, 120.0, path) == path
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
    assert evidence.write(OBSERVATIONS, "5.0.0", 100.0, 120.0, tmp_path / "other.png") is None
    assert not (tmp_path / "other.png").exists()


def test_what_the_command_says_when_it_cannot_draw_is_told(tmp_path: Path) -> None:
    (tmp_path / "evidence.png").mkdir()
    with pytest.raises(evidence.NotDrawnError, match=r"evidence\.png"):
        evidence.write(OBSERVATIONS, "8.0.0", 100.0, 120.0, tmp_path / "evidence.png")


def test_the_evidence_is_read_as_a_share_of_what_rolls_back() -> None:
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
    assert [check.worse for check in found.checks] == [0.25, None]
