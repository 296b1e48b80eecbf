from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


async def test_rollback_on_errors(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("2.0.0")
    await given.traffic()

    await when.apply("3.0.0")
    release = await then.is_rolled_back("3.0.0", stable="2.0.0", reason="ErrorRate")

    assert [check.name for check in release.failing] == ["errorRate"]
    then.weights_were(20, 0)
    then.traffic_was_removed_in_time()
    await then.only_the_canary_failed("3.0.0")


async def test_rollback_on_latency(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("2.0.0")
    # The slow model manages about 15 requests a second on a busy machine with two cores, and its share has to be well
    # below that: what it answers late is to be seen as latency and not as a full queue.
    await given.traffic(rate=30)

    await when.apply("4.0.0")
    release = await then.is_rolled_back("4.0.0", stable="2.0.0", reason="Latency")

    assert [check.name for check in release.failing] == ["latency"]
    then.weights_were(20, 0)
    then.traffic_was_removed_in_time()
    await then.no_request_failed()


async def test_rollback_on_a_crash_at_start(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("2.0.0")
    await given.traffic()

    await when.apply("5.0.0")
    await then.is_rolled_back("5.0.0", stable="2.0.0", reason="Crash")

    then.weights_were()
    await then.no_request_failed()


async def test_rollback_when_the_canary_is_killed_under_traffic(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", weight=20)

    await when.kill_the_canary()
    await then.is_rolled_back("2.0.0", stable="1.0.0", reason="")

    assert then.weights()[-1] == 0
    then.traffic_was_removed_in_time()
