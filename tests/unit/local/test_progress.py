import io
import threading

import pytest

from iris_local.progress import Progress, span


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (9.4, "9s"), (59.6, "1m00s"), (60, "1m00s"), (245, "4m05s"), (3600, "60m00s")]
)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_long_step_says_its_expected_time_how_far_it_is_and_how_long_it_took() -> None:
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


def test_a_short_step_says_no_expected_time() -> None:
    sink = io.StringIO()
    with Progress(sink).step("start the control plane", expected=10):
        pass
    assert "about" not in sink.getvalue()


def test_a_step_that_fails_says_so_and_passes_the_error_on() -> None:
    sink = io.StringIO()
    with (
        pytest.raises(ValueError, match="broken"),
        Progress(sink, clock=lambda: 0.0).step("build traefik", expected=200),
    ):
        raise ValueError("broken")
    assert "build traefik: failed after 0s" in sink.getvalue()
    assert "done" not in sink.getvalue()


def test_lines_start_with_the_time_since_the_beginning() -> None:
    sink = io.StringIO()
    times = iter([100.0, 165.0])
    Progress(sink, clock=lambda: next(times)).say("half way")
    assert sink.getvalue() == "  1m05s  half way\n"
