from __future__ import annotations

import time

from support.e2e.given import Given
from support.e2e.monitoring import has_data
from support.e2e.scenario import NAMESPACE
from support.e2e.then import Then
from support.e2e.when import When
from support.observability.queries import panel_queries


async def test_every_panel_has_data_for_a_release_that_was_rolled_back(given: Given, when: When, then: Then) -> None:
    started = time.time()
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await when.apply("3.0.0")
    await then.is_rolled_back("3.0.0", stable="1.0.0", reason="ErrorRate")
    # What the newest scrapes say of it: a few more answers are a few more scrapes.
    await then.answered(300)

    asked = list(panel_queries(NAMESPACE, then.kubectl_resource.removeprefix("imr/")))
    silent = [f"{query.panel}: {query.text}" for query in asked if not await has_data(query.text, since=started)]
    assert len(asked) > 50
    assert not silent, "\n".join(silent)
