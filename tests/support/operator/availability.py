"""The requests of a simulated release that no pod answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from support.operator.api_server import ApiServer
from support.operator.traffic import RATE

WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"
# A router goes on for so long with the split that it had.
_ROUTER_LAG = timedelta(seconds=1)


@dataclass
class Availability:
    """Counts requests that are lost, and the largest part of them that was lost at once.

    Before there is a route there are no requests.
    """

    server: ApiServer
    lost: float = 0.0
    worst: float = 0.0
    _weights: list[tuple[datetime, int]] = field(default_factory=list)

    def record(self, seconds: float) -> None:
        """Count the requests of the past seconds, which are split as the route is now, or was until just now."""
        if ("Ingress", "iris", "iris") not in self.server.objects:
            if self._weights:
                self._lose(1.0, seconds)
            return
        now, canary = self.server.now, self.server.objects.get(("Ingress", "iris", "iris-canary"))
        self._weights.append((now, int(canary["metadata"]["annotations"][WEIGHT]) if canary else 0))
        while len(self._weights) > 1 and self._weights[1][0] < now - _ROUTER_LAG:
            self._weights.pop(0)
        stable, with_share = self._serves("iris-stable"), self._serves("iris-canary")
        lost = [
            (0.0 if stable else 1 - weight / 100) + (0.0 if with_share else weight / 100) for _, weight in self._weights
        ]
        self._lose(max(lost), seconds)

    def _lose(self, part: float, seconds: float) -> None:
        self.worst = max(self.worst, part)
        # A reconcile that asks for the next one at once takes no virtual time; what it did is in force all the same.
        self.lost += RATE * part * max(seconds, 0.01)

    def _serves(self, service: str) -> bool:
        found = self.server.objects.get(("EndpointSlice", "iris", f"{service}-slice"))
        return any(endpoint["conditions"]["ready"] for endpoint in (found or {}).get("endpoints", ()))
