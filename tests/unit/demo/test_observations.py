from __future__ import annotations

from iris_demo.observations import CANARY, CANARY_WEIGHT, Check, Past, Release, canary_weight, last_seen, release_of


def test_a_release_that_nobody_has_reconciled_reads_as_empty() -> None:
    seen = release_of({"metadata": {"generation": 1}, "spec": {"model": {"version": "1.0.0"}}})
    assert seen == Release(wanted="1.0.0", generation=1)


def test_a_status_is_read_whole() -> None:
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
    assert seen.history == (Past("3.0.0", "RolledBack", "errorRate"),)


def test_the_weight_is_what_the_ingress_says_and_0_when_it_says_nothing() -> None:
    def ingress(**annotations: str) -> dict[str, object]:
        return {"metadata": {"annotations": annotations}}

    assert canary_weight(ingress(**{CANARY: "true", CANARY_WEIGHT: "25"})) == 25
    assert canary_weight(ingress(**{CANARY: "false", CANARY_WEIGHT: "25"})) == 0
    assert canary_weight(ingress(**{CANARY: "true"})) == 0
    assert canary_weight({"metadata": {}}) == 0
    assert canary_weight(None) == 0


def test_an_event_is_as_old_as_its_last_occurrence() -> None:
    assert last_seen({"eventTime": "2026-01-01T00:00:01.5Z", "lastTimestamp": None}) == "2026-01-01T00:00:01.5Z"
    assert last_seen({"lastTimestamp": "2026-01-01T00:00:05Z", "firstTimestamp": "2026-01-01T00:00:01Z"})
    assert last_seen({}) == ""
