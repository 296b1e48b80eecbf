"""A simulated release whose reconciles and events are measured as in the running operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.reconcile import ReconcileOutcome, Reconciler
from iris_operator.metrics.releases import CountingRecorder
from iris_operator.metrics.server import OperatorMetrics
from support.operator.api_server import Image
from support.operator.simulation import Simulation

KEY = ("iris", "iris")


class Measured:
    """A simulated release with the metrics of its reconciles and events, as in the running operator."""

    def __init__(self, **images: Image) -> None:
        self.simulation = Simulation(**images)
        self.telemetry = OperatorMetrics()
        ports = self.simulation.reconciler._ports
        self.simulation.reconciler = Reconciler(
            dataclasses.replace(ports, event_recorder=CountingRecorder(ports.event_recorder, self.telemetry.releases))
        )
        self._step = self.simulation.step
        self.simulation.step = self.step  # type: ignore[method-assign]  # each reconcile is measured

    def step(self) -> ReconcileOutcome:
        outcome = self._step()
        self.telemetry.reconciled(KEY, outcome, self.simulation.server.now.timestamp())
        return outcome

    def release(self, version: str, until: Callable[[ReleaseStatus], bool]) -> None:
        self.simulation.apply(version)
        self.simulation.run(until)

    def __call__(self, name: str, **labels: str) -> float | None:
        return value(self.telemetry.registry, name, **labels)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"namespace": "iris", "release": "iris", **labels})
