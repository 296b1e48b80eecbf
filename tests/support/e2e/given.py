"""The initial state of a scenario."""

from __future__ import annotations

from typing import Any

from iris_demo.resources import (
    RELEASES,
)
from iris_demo.scenario import SILENT
from support.e2e.scenario import RATE, Scenario
from support.e2e.then import Then
from support.e2e.when import When

DEPLOYED_SECONDS = 90.0


class Given:
    """Sets up the state before the actions of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def pods(self, **serving: Any) -> None:
        """Set the release's ``serving`` block: replicas or autoscaling."""
        self._scenario.serving = serving

    def the_quality_regressions_scenario(self) -> None:
        """Use the releases of the demo's second scenario, with the rate that the demo would choose."""
        self._scenario.demo_scenario = SILENT

    def a_shadow_step(self, percent: int) -> None:
        """Begin the rollout with a step that mirrors this percentage of the requests to the canary."""
        self._scenario.shadow_percent = percent

    async def a_stable_release(self, version: str) -> None:
        """Deploy a first version and wait until it is stable."""
        await self._scenario.kube.apply(RELEASES, self._scenario.manifest(version))
        await self._scenario.watcher.wait_for(
            lambda seen: seen.release.stable == version and seen.release.phase == "Stable", DEPLOYED_SECONDS
        )

    def a_comparison_with_stable(self) -> None:
        """Compare the canary with stable's pods as they are, without a control group."""
        self._scenario.control = "Stable"

    async def traffic(self, labels: float = 0.0, instances: int = 0, rate: float = RATE) -> None:
        """Requests at ``rate`` a second through the Ingress until the end of the scenario, a share of them labelled.

        They cycle through ``instances`` distinct instances; 0: every request has a new one.
        """
        self._scenario.labels, self._scenario.instances, self._scenario.rate = labels, instances, rate
        await self._scenario.start_traffic()

    async def a_canary(self, version: str, weight: int) -> None:
        """Start a rollout and wait until it reaches ``weight``."""
        await When(self._scenario).apply(version)
        await Then(self._scenario).weight_becomes(weight)
