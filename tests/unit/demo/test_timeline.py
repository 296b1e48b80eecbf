from __future__ import annotations

from dataclasses import replace

from iris_demo.observations import Check, EventObserved, Release, ReleaseObserved, RouteObserved
from iris_demo.timeline import Timeline, Tone

PROGRESSING = Release(spec_version="2.0.0", phase="Progressing", step=1, steps=3, stable="1.0.0", canary="2.0.0")


def test_a_change_is_reported_once() -> None:
    timeline = Timeline()
    first = timeline.add(ReleaseObserved(1.0, PROGRESSING))
    assert [line.subject for line in first] == ["phase", "stable"]
    assert "canary 2.0.0" in first[0].text
    assert "step 1 of 3" in first[0].text
    assert timeline.add(ReleaseObserved(2.0, PROGRESSING)) == []


def test_a_verdict_is_reported_with_its_reason_when_it_changes() -> None:
    timeline = Timeline()
    timeline.add(ReleaseObserved(1.0, PROGRESSING))
    hold = replace(PROGRESSING, checks=(Check("errorRate", "Hold", "12 requests so far", 12),))
    more = replace(PROGRESSING, checks=(Check("errorRate", "Hold", "24 requests so far", 24),))
    fail = replace(PROGRESSING, checks=(Check("errorRate", "Fail", "30 of 30 failed", 30),))
    assert [line.text for line in timeline.add(ReleaseObserved(2.0, hold))] == ["errorRate Hold: 12 requests so far"]
    assert timeline.add(ReleaseObserved(3.0, more)) == []
    (line,) = timeline.add(ReleaseObserved(4.0, fail))
    assert (line.text, line.tone) == ("errorRate Fail: 30 of 30 failed", Tone.BAD)


def test_a_rollback_says_why() -> None:
    (line,) = Timeline().add(ReleaseObserved(1.0, Release(phase="RolledBack", promoted_message="errorRate: 30 of 30")))
    assert "errorRate: 30 of 30" in line.text
    assert line.tone is Tone.BAD


def test_only_changes_of_the_routes_weight_are_reported() -> None:
    timeline = Timeline()
    assert timeline.add(RouteObserved(1.0, 0)) == []
    assert [line.text for line in timeline.add(RouteObserved(2.0, 10))] == ["0 % -> 10 % to the canary's Service"]
    assert timeline.add(RouteObserved(3.0, 10)) == []
    assert [line.text for line in timeline.add(RouteObserved(4.0, 0))] == ["10 % -> 0 % to the canary's Service"]


def test_the_share_the_control_group_and_what_can_be_seen_are_reported_when_they_change() -> None:
    timeline = Timeline()
    timeline.add(ReleaseObserved(1.0, PROGRESSING))
    said = "pods differ by 15 %: less than 30 % slower cannot be seen"
    shifted = replace(PROGRESSING, weight=10, control_pods=1, resolution=said)
    assert [(line.subject, line.text) for line in timeline.add(ReleaseObserved(2.0, shifted))] == [
        ("weight", "0 % -> 10 % of the requests to version 2.0.0"),
        ("control", "fresh pods of version 1.0.0 to compare the canary with: 1"),
        ("analysis", said),
    ]
    assert timeline.add(ReleaseObserved(3.0, shifted)) == []


def test_warnings_are_highlighted() -> None:
    (line,) = Timeline().add(EventObserved(1.0, "Warning", "RolledBack", "errors"))
    assert (line.text, line.tone) == ("RolledBack: errors", Tone.BAD)
