from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


async def test_first_deployment_skips_the_steps(given: Given, when: When, then: Then) -> None:
    await when.apply("1.0.0")
    release = await then.phase_becomes("Stable")
    await given.traffic()

    assert (release.stable, release.canary, release.weight) == ("1.0.0", "", 0)
    assert (release.promoted, release.history[0].outcome) == ("True", "Promoted")
    then.weights_were()
    await then.plain_http_is_redirected()
    await then.answered(100)
    await then.no_request_failed()
