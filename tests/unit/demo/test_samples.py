from __future__ import annotations

import pytest

from iris_demo.samples import Kind, Label, LabelOutcome, Sample, decode, encode

SAMPLES = [
    Sample(1000.25, 0.004, Kind.OK, 200, "1.0.0", late=0.002),
    Sample(1000.5, 5.0, Kind.TIMEOUT, 0, ""),
    Sample(1001.0, 0.01, Kind.STATUS, 500, "3.0.0"),
    Sample(1001.5, 0.001, Kind.CONNECT, 0, ""),
]


LABELS = [
    Label(1002.5, "1.0.0", LabelOutcome.CORRECT),
    Label(1003.0, "8.0.0", LabelOutcome.INCORRECT),
    Label(1030.0, "", LabelOutcome.LOST),
]


def test_samples_and_labels_survive_the_pipe() -> None:
    line = encode(SAMPLES, LABELS)
    assert "\n" not in line
    assert decode(line) == (SAMPLES, LABELS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[[[1.0, 2.0",
        '[[[1, 2, "no such kind", 200, "1.0.0", 0.0]], []]',
        "[[[1, 2]], []]",
        '[[], [[1, "1.0.0", "maybe"]]]',
        "[[], 1]",
    ],
)
def test_a_truncated_line_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="not a line of samples"):
        decode(line)
