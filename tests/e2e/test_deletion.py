from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


async def test_deletion_mid_rollout_gives_stable_everything_first(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)

    await when.delete()
    await then.nothing_is_left()

    then.the_weight_was_0_before_the_canary_was_removed("2.0.0")
    await then.no_request_failed_before_the_release_was_deleted()
