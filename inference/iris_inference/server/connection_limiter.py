"""The bound on open connections, and which of them are closed when it is reached.

A connection costs some seven kilobytes and a file descriptor, so their number is bounded. Up to the limit every
connection is accepted. At the limit connections without a request in progress are closed: first those that never sent
anything, then those with an incomplete request, then those that are idle after a response; in each group the oldest
first. When none can be closed, a few more connections are accepted on which only probes are answered: the kubelet must
not kill a pod because it is busy. Those that send no probe at once are closed for the next ones.

uvicorn's own `limit_concurrency` refuses requests instead, on all connections alike, probes among them, and lets
connections grow.
"""

import resource
from collections.abc import Iterator
from enum import Enum, IntEnum
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from iris_inference import metric_names

PROBE_PATHS: Final = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})

# Connections on which only probes are answered. Kubelets, proxies and load balancers open one or two each.
PROBE_SLOTS: Final = 64
# So many more are accepted until what they have sent is read: connections arrive in bursts, and a probe may be among
# them.
PROBE_BURST: Final = 1_024
# A thirty-second part is evicted at once, so that the scan for candidates costs little for each new connection.
_EVICTION_DIVISOR: Final = 32
# When no connection could be evicted, none can be a moment later: a flood must not cause a scan each time.
_RESCAN_SECONDS: Final = 0.05
# File descriptors for everything besides connections: libraries, the spool, the database, Redis, the scrape.
_RESERVED_FILES: Final = 200


class ConnectionState(IntEnum):
    """What a connection is doing, in the order of eviction."""

    NEW = 0  # nothing was received yet
    READING = 1  # a request is incomplete
    IDLE = 2  # between a response and the next request
    ACTIVE = 3  # a request is being served


# How long a connection may stay in each state before it may be evicted, in seconds.
_GRACE_SECONDS: Final = {
    ConnectionState.NEW: 0.02,
    ConnectionState.READING: 1.0,
    ConnectionState.IDLE: 1.0,
    ConnectionState.ACTIVE: float("inf"),
}


class Slot(Enum):
    """How a new connection is admitted."""

    REGULAR = "regular"
    PROBES_ONLY = "probes-only"
    REFUSED = "refused"


class TrackedConnection(Protocol):
    """A connection as the limiter sees it."""

    def state(self) -> ConnectionState:
        """What it is doing."""
        ...

    def state_since(self) -> float:
        """Since when it is in this state, by the loop's clock."""
        ...

    def evict(self) -> bool:
        """Close it, unless it has just sent something that is not read yet. Returns whether it is closed."""
        ...


class ConnectionLimiter(Collector):
    """Counts connections and admits new ones. Belongs to the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._evicted = 0
        self._refused = 0
        self._regular: set[TrackedConnection] = set()
        # In the order of their arrival.
        self._probes_only: dict[TrackedConnection, None] = {}
        self._rescan_at = float("-inf")

    def admit(self, connection: TrackedConnection, now: float) -> Slot:
        """Admit a new connection, which must be released unless it is refused. `now` by the loop's clock."""
        if len(self._regular) >= self.limit and now >= self._rescan_at and not self._evict_idle(now):
            self._rescan_at = now + _RESCAN_SECONDS
        if len(self._regular) < self.limit:
            self._regular.add(connection)
            return Slot.REGULAR
        self._refused += 1
        if len(self._probes_only) >= PROBE_SLOTS:
            self._evict_waiting_for_probe(now)
        if len(self._probes_only) >= PROBE_SLOTS + PROBE_BURST:
            return Slot.REFUSED
        self._probes_only[connection] = None
        return Slot.PROBES_ONLY

    def release(self, connection: TrackedConnection) -> None:
        """A connection was closed."""
        self._regular.discard(connection)
        self._probes_only.pop(connection, None)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """`http_connections`, and `http_connections_turned_away_total{reason}`, as Prometheus reads them."""
        count = len(self._regular) + len(self._probes_only)
        yield GaugeMetricFamily(metric_names.CONNECTIONS, "Open connections to the HTTP API.", count)
        turned_away = CounterMetricFamily(
            metric_names.CONNECTIONS_TURNED_AWAY, "Connections evicted for new ones, or refused.", labels=["reason"]
        )
        turned_away.add_metric(["idle"], self._evicted)
        turned_away.add_metric(["full"], self._refused)
        yield turned_away

    def _evict_idle(self, now: float) -> bool:
        """Evict connections that exceeded the grace time of their state. Returns whether any was evicted."""
        states = [(connection.state(), connection.state_since(), connection) for connection in self._regular]
        candidates = [entry for entry in states if now - entry[1] > _GRACE_SECONDS[entry[0]]]
        candidates.sort(key=lambda entry: entry[:2])
        target = max(1, self.limit // _EVICTION_DIVISOR)
        evicted = 0
        for _, _, connection in candidates:
            if connection.evict():
                # At once, not when the connection is closed: others arrive meanwhile.
                self._regular.discard(connection)
                evicted += 1
                if evicted == target:
                    break
        self._evicted += evicted
        return evicted > 0

    def _evict_waiting_for_probe(self, now: float) -> None:
        """Evict the oldest connections that have sent no probe, until as many are left as there are slots."""
        for connection in list(self._probes_only)[:_EVICTION_DIVISOR]:
            if len(self._probes_only) < PROBE_SLOTS:
                return
            # There is only time to begin a request: a probe is sent in one piece.
            late = now - connection.state_since() > _GRACE_SECONDS[ConnectionState.NEW]
            if late and connection.state() is not ConnectionState.ACTIVE and connection.evict():
                del self._probes_only[connection]


def fit_to_file_limit(connections: int) -> int:
    """The number of connections that the limit of open files allows, at most `connections`. Raises the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + PROBE_SLOTS + PROBE_BURST + _RESERVED_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(connections, soft - PROBE_SLOTS - PROBE_BURST - _RESERVED_FILES))
