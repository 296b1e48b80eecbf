"""During a rollout pods of stable's version stand beside the canary, made with it and behind the same Service."""

from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


async def test_an_identical_version_is_promoted(given: Given, when: When, then: Then) -> None:
    given.pods(replicas=2)
    await given.a_stable_release("1.0.0")
    await given.traffic()

    await when.apply("1.0.1", image_version="1.0.0")
    await then.is_promoted("1.0.1")

    then.weights_were(20, 60, 100, 0)
    await then.no_request_failed()


async def test_a_control_group_stands_beside_the_canary_and_is_gone_after_promotion(
    given: Given, when: When, then: Then
) -> None:
    given.pods(replicas=2)
    await given.a_stable_release("1.0.0")
    await given.traffic()
    before = await then.pods_of("1.0.0", 2)

    await given.a_canary("2.0.0", weight=20)
    await when.pause()
    await then.control_group_stands("1.0.0", pods=1)
    assert await then.pods_of("1.0.0", 2) == before, "the pods of stable were made anew"
    await when.resume()
    await then.is_promoted("2.0.0")

    await then.no_control_group_stands()
    then.weights_were(20, 60, 100, 0)
    await then.no_request_failed()


async def test_the_control_group_is_gone_after_a_rollback(given: Given, when: When, then: Then) -> None:
    given.pods(replicas=2)
    await given.a_stable_release("2.0.0")
    await given.traffic()

    await when.apply("3.0.0")
    await then.is_rolled_back("3.0.0", stable="2.0.0", reason="ErrorRate")

    await then.no_control_group_stands()
    await then.only_the_canary_failed("3.0.0")


async def test_without_its_control_group_the_canary_gets_no_more_than_its_share(
    given: Given, when: When, then: Then
) -> None:
    given.pods(replicas=2)
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)
    await when.pause()
    await then.control_group_stands("1.0.0", pods=1)

    # The invariants say whether the share went down in time.
    await when.kill_the_control_group()
    await then.control_group_stands("1.0.0", pods=1)
    await when.resume()

    await then.is_promoted("2.0.0")
    then.weights_were(20, 60, 100, 0)


async def test_a_comparison_with_stable_has_no_control_group(given: Given, then: Then) -> None:
    given.a_comparison_with_stable()
    await given.a_stable_release("1.0.0")
    await given.traffic()

    await given.a_canary("2.0.0", weight=20)
    await then.no_control_group_stands()

    assert then.weights() == [20]
    await then.no_request_failed()
