from __future__ import annotations

from support.e2e.given import Given
from support.e2e.monitoring import query_value
from support.e2e.then import Then
from support.e2e.when import When


def delivered(release: str, arm: str) -> str:
    """PromQL: requests mirrored to one arm of the comparison, as its own pods count them."""
    return f'sum(max_over_time(shadow_requests_total{{release="{release}",code="200",arm="{arm}"}}[5m]))'


def copied(release: str, result: str = ".+") -> str:
    """PromQL: requests of a release that both versions were asked, by what came of it."""
    return f'sum(max_over_time(shadow_pairs_total{{release="{release}",result=~"{result}"}}[5m]))'


async def test_a_version_is_compared_on_mirrored_requests_before_it_gets_traffic(
    given: Given, when: When, then: Then
) -> None:
    given.a_shadow_step(50)
    await given.a_stable_release("1.0.0")
    await given.traffic()
    pods = await then.pods_of("1.0.0", 1)

    await when.apply("2.0.0")
    await then.weight_becomes(20)
    assert await then.pods_of("1.0.0", 1) == pods, "the pods of stable were made anew"
    await then.is_promoted("2.0.0")

    then.weights_were(20, 60, 100, 0)
    described = await then.kubectl("describe", then.kubectl_resource)
    assert "50 % of the requests are mirrored to version" in described
    await then.no_request_failed()
    release = then.kubectl_resource.removeprefix("imr/")
    same, both = await query_value(copied(release, "same")), await query_value(copied(release))
    assert both > 0
    assert same / both > 0.5, f"{same} of {both}"
    canary, control = await query_value(delivered(release, "")), await query_value(delivered(release, "control"))
    assert canary > 0
    assert 0.9 < control / canary < 1.1, f"the canary got {canary} copies, the control group {control}"


async def test_a_version_that_fails_mirrored_requests_never_gets_traffic(given: Given, when: When, then: Then) -> None:
    given.a_shadow_step(50)
    await given.a_stable_release("1.0.0")
    await given.traffic()

    await when.apply("3.0.0")
    await then.is_rolled_back("3.0.0", stable="1.0.0", reason="")

    then.weights_were()
    await then.no_request_failed()
    release = then.kubectl_resource.removeprefix("imr/")
    assert await query_value(copied(release, "only_stable")) == await query_value(copied(release)) > 0
