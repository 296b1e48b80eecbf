"""Versions that start, are ready, and answer every request with a 200."""

from __future__ import annotations

import pytest

from support.e2e.given import Given
from support.e2e.then import Then
from support.e2e.when import When


@pytest.fixture(autouse=True)
async def _beside_a_sound_version(given: Given) -> None:
    given.the_quality_regressions_scenario()
    await given.a_stable_release("6.0.0")
    await given.traffic(labels=0.5)


async def test_rollback_on_exchanged_labels(when: When, then: Then) -> None:
    await when.apply("7.0.0")
    release = await then.is_rolled_back("7.0.0", stable="6.0.0", reason="PredictionDrift")

    assert "predictionDrift" in [check.name for check in release.failing]
    then.weights_were(30, 0)
    await then.no_request_failed()


async def test_rollback_on_lost_accuracy(when: When, then: Then) -> None:
    await when.apply("8.0.0")
    release = await then.is_rolled_back("8.0.0", stable="6.0.0", reason="Accuracy")

    assert [check.name for check in release.failing] == ["accuracy"]
    then.traffic_was_removed_in_time()
    await then.no_request_failed()
    then.accuracy_was_lower("8.0.0", than="6.0.0")


async def test_rollback_on_15_ms_more_latency(when: When, then: Then) -> None:
    await when.apply("9.0.0")
    release = await then.is_rolled_back("9.0.0", stable="6.0.0", reason="Latency")

    assert [check.name for check in release.failing] == ["latency"]
    then.traffic_was_removed_in_time()
    await then.no_request_failed()
