from __future__ import annotations

from pathlib import Path

import pytest

from iris_operator.cli.__main__ import main

EXAMPLE = Path(__file__).resolve().parents[4] / "docs" / "replay.csv"


def test_the_example_ends_with_the_check_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(EXAMPLE)]) == 1
    text = capsys.readouterr().out
    assert "errorRate Fail: canary 5xx" in text
    assert text.count("Hold") > 5


def test_wider_margins_let_the_same_release_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(EXAMPLE), "--max-ratio", "100", "--max-harm", "0.2"]) == 0
    assert "Pass" in capsys.readouterr().out.splitlines()[-8]


def test_the_evidence_is_drawn_as_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "evidence.png"
    main(["replay", str(EXAMPLE), "--png", str(picture)])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "wrote" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["second\n1\n", "", "second,next_weight,canary_requests\n0,50,many\n"])
def test_a_file_that_is_no_recording_is_refused_with_its_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(text)
    assert main(["replay", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
