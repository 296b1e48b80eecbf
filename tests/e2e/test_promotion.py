from __future__ import annotations

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When

OF_OTHER_TOOLS = {
    "cert-manager.io/cluster-issuer": "letsencrypt",
    "external-dns.alpha.kubernetes.io/ttl": "60",
    "nginx.ingress.kubernetes.io/proxy-body-size": "8m",
}

INSTANCES = 600


async def test_promotion_loses_no_request(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()

    await when.apply("2.0.0")
    release = await then.is_promoted("2.0.0")

    assert (release.phase, release.canary, release.weight) == ("Stable", "", 0)
    then.weights_were(20, 60, 100, 0)
    await then.answered(100)
    await then.no_request_failed()
    await then.were_served_by("1.0.0", "2.0.0")


async def test_a_cold_cache_does_not_fail_a_good_version(given: Given, when: When, then: Then) -> None:
    # Models that take milliseconds: an answer from the cache is several times as fast.
    given.the_quality_regressions_scenario()
    await given.a_stable_release("6.0.0")
    # Stable knows them all after ten seconds. A canary with a third of the traffic takes half a minute.
    await given.traffic(instances=INSTANCES, labels=0.5)
    await then.answered(2 * INSTANCES)

    await when.apply("6.1.0")
    await then.is_promoted("6.1.0")

    then.weights_were(30, 100, 0)
    await then.no_request_failed()


async def test_promotion_reads_well_in_kubectl(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()

    await when.apply("2.0.0")
    waited = await then.kubectl("wait", "--for=condition=Promoted=False", then.kubectl_resource, "--timeout=60s")
    waited += await then.kubectl("wait", "--for=condition=Promoted", then.kubectl_resource, "--timeout=120s")
    assert waited.count("condition met") == 2

    heading, row = (await then.kubectl("get", then.kubectl_resource)).splitlines()
    assert heading.split() == ["NAME", "PHASE", "STABLE", "CANARY", "WEIGHT", "STEP", "VERDICT", "AGE"]
    assert row.split()[1:3] == ["Stable", "2.0.0"]
    described = await then.kubectl("describe", then.kubectl_resource)
    for word in ("ReleaseStarted", "WeightShifted", "Promoted", "version 2.0.0 serves all traffic"):
        assert word in described
    await then.no_request_failed()


async def test_annotations_of_other_tools_survive_a_promotion(given: Given, when: When, then: Then) -> None:
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await when.annotate_ingress(OF_OTHER_TOOLS)

    await when.apply("2.0.0")
    await then.is_promoted("2.0.0")

    await then.ingress_annotations_include(OF_OTHER_TOOLS)
    await then.no_request_failed()
