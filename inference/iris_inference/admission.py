"""How many connections there may be, and who goes when there are too many.

A connection costs some seven kilobytes and a file, so their number is bounded. Up to the limit everybody is let in. At
the limit those go who are not being served: first who never asked, then who began to ask and does not end, then who
asked before and is quiet now; in each group the oldest. When nobody can go, a few more are let in, but only probes are
answered there: the kubelet must not kill a pod because it is busy. Who does not ask at once makes room for the next.

uvicorn's own `limit_concurrency` refuses requests instead, on all connections alike, probes among them, and lets
connections grow.
"""

import resource
from collections.abc import Iterator
from enum import Enum, IntEnum
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

PROBE_PATHS: Final = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})

# Places for those of whom only probes are answered. Kubelets, proxies and load balancers come with one or two each.
SPARE: Final = 64
# So many more may stand at the door until what they have sent is read: connections come in bursts, and a probe may be
# among them.
BURST: Final = 1_024
# A thirty-second part goes at once, so that looking for those who go costs little for each newcomer.
_PART: Final = 32
# When nobody could go, nobody can a moment later: a flood must not make us look all the time.
_LOOK_AGAIN_SECONDS: Final = 0.05
# What the process keeps open besides connections: libraries, the spool, the database, Redis, the scrape.
_OTHER_FILES: Final = 200


class Standing(IntEnum):
    """What a connection is doing, in the order in which they have to go."""

    SILENT = 0
    ASKING = 1
    RESTING = 2
    SERVED = 3


# How long each may do what it does before it has to go, in seconds: to begin to ask, to end, and to ask again.
_PATIENCE: Final = {Standing.SILENT: 0.02, Standing.ASKING: 1.0, Standing.RESTING: 1.0, Standing.SERVED: float("inf")}


class Place(Enum):
    """Where a newcomer is put."""

    INSIDE = "inside"
    SPARE = "spare"
    NONE = "none"


class Seated(Protocol):
    """A connection as the gate sees it."""

    def standing(self) -> Standing:
        """What it is doing."""
        ...

    def since(self) -> float:
        """Since when, by the loop's clock."""
        ...

    def send_away(self) -> bool:
        """Close it, unless it has just sent something that is not read yet; whether it goes."""
        ...


class Gate(Collector):
    """Counts connections and finds places for new ones. Belongs to the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sent_away = 0
        self._refused = 0
        self._inside: set[Seated] = set()
        # In the order of their coming.
        self._spare: dict[Seated, None] = {}
        self._full_until = float("-inf")

    def enter(self, newcomer: Seated, now: float) -> Place:
        """Find a place for a new connection; whoever gets one must leave again. `now` by the loop's clock."""
        if len(self._inside) >= self.limit and now >= self._full_until and not self._make_room(now):
            self._full_until = now + _LOOK_AGAIN_SECONDS
        if len(self._inside) < self.limit:
            self._inside.add(newcomer)
            return Place.INSIDE
        self._refused += 1
        if len(self._spare) >= SPARE:
            self._make_spare_room(now)
        if len(self._spare) >= SPARE + BURST:
            return Place.NONE
        self._spare[newcomer] = None
        return Place.SPARE

    def leave(self, who: Seated) -> None:
        """A connection has ended."""
        self._inside.discard(who)
        self._spare.pop(who, None)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """`http_connections`, and `http_connections_turned_away_total{reason}`, as Prometheus reads them."""
        now = len(self._inside) + len(self._spare)
        yield GaugeMetricFamily("http_connections", "Open connections to the HTTP API.", now)
        away = CounterMetricFamily(
            "http_connections_turned_away", "Connections closed to make room, or without a place.", labels=["reason"]
        )
        away.add_metric(["idle"], self._sent_away)
        away.add_metric(["full"], self._refused)
        yield away

    def _make_room(self, now: float) -> bool:
        """Send away who may go, and say whether anybody went."""
        found = [(connection.standing(), connection.since(), connection) for connection in self._inside]
        going = [entry for entry in found if now - entry[1] > _PATIENCE[entry[0]]]
        going.sort(key=lambda entry: entry[:2])
        goal = max(1, self.limit // _PART)
        gone = 0
        for _, _, connection in going:
            if connection.send_away():
                # At once, not when the connection has ended: others come meanwhile.
                self._inside.discard(connection)
                gone += 1
                if gone == goal:
                    break
        self._sent_away += gone
        return gone > 0

    def _make_spare_room(self, now: float) -> None:
        """Send away who came first and does not ask, until as many are left as there are places."""
        for connection in list(self._spare)[:_PART]:
            if len(self._spare) < SPARE:
                return
            # Nobody has more time here than to begin: a probe is sent as a whole.
            late = now - connection.since() > _PATIENCE[Standing.SILENT]
            if late and connection.standing() is not Standing.SERVED and connection.send_away():
                del self._spare[connection]


def affordable(connections: int) -> int:
    """How many of so many connections the process may have open, after asking the kernel for as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE + BURST + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(connections, soft - SPARE - BURST - _OTHER_FILES))
