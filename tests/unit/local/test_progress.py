import io
import threading

import pytest

from iris_local.progress import Progress, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (9.4, "9s"), (59.6, "1m00s"), (60, "1m00s"), (245, "4m05s"), (3600, "60m00s")]
)
def test_durations_are_human_readable(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_long_step_reports_its_expected_elapsed_and_total_time() -> None:
    ticked = threading.Event()

    class Sink(io.StringIO):
        def write(self, text: str) -> int:
            if "of about 5m30s" in text:
                ticked.set()
            return super().write(text)

    sink = Sink()
    with Progress(sink, clock=lambda: 0.0, tick=0.01).step("build kubernetes", expected=330):
        assert ticked.wait(30)
    lines = [line.split(maxsplit=1)[1] for line in sink.getvalue().splitlines()]
    assert lines[0] == "build kubernetes (about 5m30s)"
    assert lines[1] == "build kubernetes: 0s of about 5m30s"
    assert lines[-1].startswith("build kubernetes: done in ")


def test_a_short_step_reports_no_expected_time() -> None:
    sink = io.StringIO()
    with Progress(sink).step("start the control plane", expected=10):
        pass
    assert "about" not in sink.getvalue()


def test_a_failed_step_is_reported_and_its_error_is_raised() -> None:
    sink = io.StringIO()
    with (
        pytest.raises(ValueError, match="broken"),
        Progress(sink, clock=lambda: 0.0).step("build traefik", expected=200),
    ):
        raise ValueError("broken")
    assert "build traefik: failed after 0s" in sink.getvalue()
    assert "done" not in sink.getvalue()


def test_lines_begin_with_the_elapsed_time() -> None:
    sink = io.StringIO()
    times = iter([100.0, 165.0])
    Progress(sink, clock=lambda: next(times)).log("half way")
    assert sink.getvalue() == "  1m05s  half way\n"
