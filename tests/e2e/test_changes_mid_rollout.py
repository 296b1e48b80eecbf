from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


async def test_new_version_mid_rollout_starts_over(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)

    await when.apply("2.1.0", image_version="2.0.0")
    release = await then.is_promoted("2.1.0")

    # From what the first canary had to nothing, and only then from the first step on.
    then.weights_were(0, 20, 60, 100, 0)
    assert [(past.version, past.outcome) for past in release.history][:2] == [
        ("2.1.0", "Promoted"),
        ("2.0.0", "Superseded"),
    ]
    await then.no_request_failed()


async def test_previous_version_mid_rollout_returns_to_stable(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)

    await when.apply("1.0.0")
    release = await then.becomes(lambda seen: seen.phase == "Stable", seconds=30)

    assert (release.stable, release.canary, release.promoted) == ("1.0.0", "", "True")
    assert (release.history[0].version, release.history[0].outcome) == ("2.0.0", "Superseded")
    then.weights_were(0)
    await then.no_request_failed()


async def test_pause_holds_the_weight_and_resume_goes_on(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)

    await when.pause()
    paused = await then.phase_becomes("Paused")
    assert (paused.promoted, paused.promoted_reason) == ("False", "Paused")
    # As many as two unpaused steps would have needed.
    await then.canary_answers_more(100)
    then.weights_were(20)

    await when.resume()
    await then.is_promoted("2.0.0")
    then.weights_were(20, 60, 100, 0)
    await then.no_request_failed()
