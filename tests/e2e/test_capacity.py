"""Pods come and go for reasons that are not the release's."""

from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


async def test_a_drain_takes_one_pod_after_the_other_and_loses_no_request(given: Given, when: When, then: Then) -> None:
    given.pods(replicas=2)
    await given.a_stable_release("1.0.0")
    await given.traffic()

    first, second = await then.pods_of("1.0.0", 2)
    assert await when.evict(first)
    assert not await when.evict(second)
    assert first not in await then.pods_of("1.0.0", 2)
    assert await when.evict(second)

    assert second not in await then.pods_of("1.0.0", 2)
    await then.answered(30)
    await then.no_request_failed()


async def test_an_autoscaler_during_a_rollout_is_followed_and_retargeted(given: Given, when: When, then: Then) -> None:
    given.pods(autoscaling={"minReplicas": 1, "maxReplicas": 3})
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await given.a_canary("2.0.0", 20)
    await when.pause()

    # Below its floor an autoscaler scales without any measurement: the local cluster takes none of processors.
    await when.raise_autoscaler_minimum(2)
    await then.is_scaled_to("1.0.0", 2)
    await when.resume()
    await then.is_promoted("2.0.0")

    then.weights_were(20, 60, 100, 0)
    await then.is_autoscaled("2.0.0")
    await then.is_scaled_to("2.0.0", 2)
    await then.no_request_failed()
