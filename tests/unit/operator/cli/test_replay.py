from __future__ import annotations

from pathlib import Path

import pytest

from iris_operator.cli.__main__ import main
from iris_operator.cli.plot import read_evidence

EXAMPLE = Path(__file__).resolve().parents[4] / "docs" / "replay.csv"


def test_the_example_ends_with_the_check_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(EXAMPLE)]) == 1
    text = capsys.readouterr().out
    assert "errorRate Fail: canary 5xx" in text
    assert text.count("Hold") > 5


def test_wider_margins_let_the_same_release_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(EXAMPLE), "--max-ratio", "100", "--max-harm", "0.2"]) == 0
    assert "Pass" in capsys.readouterr().out.splitlines()[-8]


def test_replay_plots_the_evidence_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "evidence.png"
    main(["replay", str(EXAMPLE), "--png", str(image)])
    assert image.read_bytes().startswith(b"\x89PNG")
    assert "wrote" in capsys.readouterr().out


def test_draw_plots_evidence_from_a_csv_file(tmp_path: Path) -> None:
    figures, image = tmp_path / "evidence.csv", tmp_path / "evidence.png"
    figures.write_text("second,weight,accuracy,latency\n0,0,,\n4.5,30,,\n10,,0.1,0.5\n20,,2,\n21,0,,\n")

    assert read_evidence(figures) == (
        {"accuracy": [(10.0, 0.1), (20.0, 2.0)], "latency": [(10.0, 0.5)]},
        [(0.0, 0.0), (4.5, 30.0), (21.0, 0.0)],
    )
    assert main(["draw", str(figures), "--png", str(image)]) == 0
    assert image.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("at,latency\n1,2\n", ", line 2: KeyError"),
        ("second,latency\n1,much\n", ", line 2: ValueError"),
        ("second,latency\n1,2,3\n", ", line 2: TypeError"),
        ("second,weight,latency\n1,30,\n", ": no evidence in it"),
    ],
)
def test_invalid_evidence_is_refused_with_its_line(
    text: str, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, image = tmp_path / "evidence.csv", tmp_path / "evidence.png"
    figures.write_text(text)

    assert main(["draw", str(figures), "--png", str(image)]) == 2
    assert f"{figures}{where}" in capsys.readouterr().err
    assert not image.exists()


@pytest.mark.parametrize("text", ["second\n1\n", "", "second,next_weight,canary_requests\n0,50,many\n"])
def test_an_invalid_recording_is_refused_with_its_name(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(text)
    assert main(["replay", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
