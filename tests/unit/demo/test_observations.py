from __future__ import annotations

from iris_demo.observations import (
    CANARY,
    CANARY_WEIGHT,
    Check,
    HistoryEntry,
    Release,
    canary_weight,
    event_time,
    release_of,
)


def test_a_release_without_a_status_is_read_as_empty() -> None:
    seen = release_of({"metadata": {"generation": 1}, "spec": {"model": {"version": "1.0.0"}}})
    assert seen == Release(spec_version="1.0.0", generation=1)


def test_every_field_of_a_status_is_read() -> None:
    seen = release_of(
        {
            "metadata": {"generation": 4},
            "spec": {"model": {"version": "3.0.0"}},
            "status": {
                "observedGeneration": 4,
                "phase": "RolledBack",
                "weight": 0,
                "step": {"index": 1, "count": 3},
                "stable": {"revision": "a", "version": "2.0.0", "image": "i"},
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "r"},
                    {"type": "Promoted", "status": "False", "reason": "RolledBack", "message": "errorRate"},
                ],
                "analysis": {
                    "verdict": "Fail",
                    "checks": [{"name": "errorRate", "verdict": "Fail", "reason": "9 of 9", "requests": 9}],
                },
                "history": [{"version": "3.0.0", "outcome": "RolledBack", "reason": "errorRate"}],
            },
        }
    )
    assert (seen.phase, seen.stable, seen.canary, seen.step, seen.steps) == ("RolledBack", "2.0.0", "", 1, 3)
    assert (seen.promoted, seen.promoted_reason, seen.promoted_message) == ("False", "RolledBack", "errorRate")
    assert seen.failing == (Check("errorRate", "Fail", "9 of 9", 9),)
    assert seen.judged_bad
    assert seen.history == (HistoryEntry("3.0.0", "RolledBack", "errorRate"),)


def test_the_weight_is_read_from_the_ingress_and_is_0_without_one() -> None:
    def ingress(**annotations: str) -> dict[str, object]:
        return {"metadata": {"annotations": annotations}}

    assert canary_weight(ingress(**{CANARY: "true", CANARY_WEIGHT: "25"})) == 25
    assert canary_weight(ingress(**{CANARY: "false", CANARY_WEIGHT: "25"})) == 0
    assert canary_weight(ingress(**{CANARY: "true"})) == 0
    assert canary_weight({"metadata": {}}) == 0
    assert canary_weight(None) == 0


def test_the_time_of_an_event_is_that_of_its_last_occurrence() -> None:
    assert event_time({"eventTime": "2026-01-01T00:00:01.5Z", "lastTimestamp": None}) == "2026-01-01T00:00:01.5Z"
    assert event_time({"lastTimestamp": "2026-01-01T00:00:05Z", "firstTimestamp": "2026-01-01T00:00:01Z"})
    assert event_time({}) == ""
