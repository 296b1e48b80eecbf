from __future__ import annotations

from dataclasses import replace

from iris_demo.observations import Check, EventSeen, Release, ReleaseSeen, RouteSeen
from iris_demo.timeline import Timeline, Tone

PROGRESSING = Release(wanted="2.0.0", phase="Progressing", step=1, steps=3, stable="1.0.0", canary="2.0.0")


def test_a_change_is_told_once() -> None:
    timeline = Timeline()
    first = timeline.add(ReleaseSeen(1.0, PROGRESSING))
    assert [line.subject for line in first] == ["phase", "stable"]
    assert "canary 2.0.0" in first[0].text
    assert "step 1 of 3" in first[0].text
    assert timeline.add(ReleaseSeen(2.0, PROGRESSING)) == []


def test_a_verdict_is_told_with_its_reason_when_it_changes() -> None:
    timeline = Timeline()
    timeline.add(ReleaseSeen(1.0, PROGRESSING))
    hold = replace(PROGRESSING, checks=(Check("errorRate", "Hold", "12 requests so far", 12),))
    more = replace(PROGRESSING, checks=(Check("errorRate", "Hold", "24 requests so far", 24),))
    fail = replace(PROGRESSING, checks=(Check("errorRate", "Fail", "30 of 30 failed", 30),))
    assert [line.text for line in timeline.add(ReleaseSeen(2.0, hold))] == ["errorRate Hold: 12 requests so far"]
    assert timeline.add(ReleaseSeen(3.0, more)) == []
    (line,) = timeline.add(ReleaseSeen(4.0, fail))
    assert (line.text, line.tone) == ("errorRate Fail: 30 of 30 failed", Tone.BAD)


def test_a_rollback_says_why() -> None:
    (line,) = Timeline().add(ReleaseSeen(1.0, Release(phase="RolledBack", promoted_message="errorRate: 30 of 30")))
    assert "errorRate: 30 of 30" in line.text
    assert line.tone is Tone.BAD


def test_the_weight_is_the_routes_and_unchanged_ones_are_silent() -> None:
    timeline = Timeline()
    assert timeline.add(RouteSeen(1.0, 0)) == []
    assert [line.text for line in timeline.add(RouteSeen(2.0, 10))] == ["0 % -> 10 %"]
    assert timeline.add(RouteSeen(3.0, 10)) == []
    assert [line.text for line in timeline.add(RouteSeen(4.0, 0))] == ["10 % -> 0 %"]


def test_warnings_stand_out() -> None:
    (line,) = Timeline().add(EventSeen(1.0, "Warning", "RolledBack", "errors"))
    assert (line.text, line.tone) == ("RolledBack: errors", Tone.BAD)
