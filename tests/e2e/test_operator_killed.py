from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


async def test_operator_killed_at_a_step_takes_each_step_once(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)

    await when.kill_the_operator()
    release = await then.is_promoted("2.0.0")

    then.weights_were(20, 60, 100, 0)
    assert [(past.version, past.outcome) for past in release.history] == [("2.0.0", "Promoted"), ("1.0.0", "Promoted")]
    await then.no_request_failed()


async def test_operator_killed_while_promoting_ends_the_promotion(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await when.apply("2.0.0")
    await then.phase_becomes("Promoting")

    await when.kill_the_operator()
    await then.is_promoted("2.0.0")

    then.weights_were(20, 60, 100, 0)
    await then.no_request_failed()


async def test_operator_killed_while_rolling_back_ends_the_rollback(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("2.0.0")
    await given.traffic()
    await when.apply("3.0.0")
    await then.phase_becomes("RollingBack")

    await when.kill_the_operator()
    await then.is_rolled_back("3.0.0", stable="2.0.0", reason="ErrorRate")

    then.weights_were(20, 0)
    await then.only_the_canary_failed("3.0.0")
