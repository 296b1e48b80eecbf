from __future__ import annotations

import time

from e2e.given_when_then import Given, Then, When
from e2e.monitoring import shows_something
from e2e.scenario import NAMESPACE
from unit.observability.queries import panel_queries


async def test_every_panel_has_something_to_show_of_a_release_that_was_taken_back(
    given: Given, when: When, then: Then
) -> None:
    started = time.time()
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await when.apply("3.0.0")
    await then.is_rolled_back("3.0.0", stable="1.0.0", reason="ErrorRate")
    # What the newest scrapes say of it: a few more answers are a few more scrapes.
    await then.answered(300)

    asked = list(panel_queries(NAMESPACE, then.resource.removeprefix("imr/")))
    silent = [f"{query.panel}: {query.text}" for query in asked if not await shows_something(query.text, since=started)]
    assert len(asked) > 50
    assert not silent, "\n".join(silent)
