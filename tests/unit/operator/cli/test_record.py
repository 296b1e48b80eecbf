from __future__ import annotations

from iris_operator.adapters.prometheus.client import Series
from iris_operator.api.names import control_revision
from iris_operator.cli.record import Rollout, _rows
from iris_operator.metric_names import REQUESTS

STABLE, CANARY = "abc123", "def456"


def served(pod: str, per_second: int) -> list[Series]:
    samples = [(float(second), per_second * second) for second in range(60)]
    return [Series({"__name__": REQUESTS, "pod": pod, "code": "200"}, samples)]


def test_the_control_group_is_recorded_as_a_part_of_stable() -> None:
    series = {STABLE: served("s", 7), control_revision(STABLE, CANARY): served("k", 2), CANARY: served("c", 2)}
    rollout = Rollout(STABLE, CANARY, 20.0, 50.0, [(20.0, 20.0), (50.0, 20.0)])
    rows = _rows(rollout, series, 10.0)
    assert [(row["stable_requests"], row["canary_requests"]) for row in rows[-3:]] == [(90, 20)] * 3
