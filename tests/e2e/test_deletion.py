from __future__ import annotations

from e2e.given_when_then import Given, Then, When


async def test_deletion_mid_rollout_gives_stable_everything_first(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)

    await when.delete()
    await then.nothing_is_left()

    then.the_weight_was_0_before_the_canary_went("2.0.0")
    await then.no_request_failed_before_the_release_was_gone()
