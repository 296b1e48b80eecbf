"""Metrics that are updated together, and each of them alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from iris_operator.analysis.arrays import Metric, State
from iris_operator.analysis.build_arrays import build_arrays
from iris_operator.analysis.check import Shape
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.metrics.batching import update_together
from iris_operator.analysis.registry import build_checks
from iris_operator.api.checks import AccuracyCheck, Checks
from support.operator.observed import BOUNDS, revision

SHAPE = Shape(BOUNDS, ("a", "b", "c", "others"), paired=True)
METRICS: dict[str, Metric] = {
    name: check.metric() for name, check in build_checks(Checks(accuracy=AccuracyCheck()), SHAPE).items()
}


def labelled(counts: RequestCounts, wrong: int) -> RequestCounts:
    return replace(counts, correct=counts.total // 2 - wrong, incorrect=wrong)


def refusing(counts: RequestCounts, refused: int) -> RequestCounts:
    codes = dict(counts.by_code)
    return replace(counts, by_code={**codes, "200": codes["200"] - refused, "404": refused})


# Errors, refusals, durations, classes and labels move; pods that differ; a first interval of a step; labels that stay
# away.
INTERVALS = [
    (Interval(labelled(revision(100), 4), labelled(revision(900, 1, pods=3), 30), paired=(3, 1)), False),
    (
        Interval(
            labelled(refusing(revision(100, 7, slow=95), 12), 9),
            labelled(refusing(revision(900, 2, pods=3), 1), 31),
            paired=(9, 1),
        ),
        True,
    ),
    (
        Interval(
            revision(120, 2, slow=115, classes={"a": 90, "b": 30}), revision(800, 40, slow=90, pods=4), paired=(0, 0)
        ),
        False,
    ),
    (
        Interval(
            labelled(revision(100), 5),
            replace(
                labelled(revision(900), 33),
                pods=tuple(labelled(revision(300, errors, slow=errors), errors) for errors in (0, 150, 2)),
            ),
            paired=(1, 4),
        ),
        False,
    ),
]


def update_all(names: list[str]) -> dict[str, tuple[list[float], State]]:
    """The evidence of these metrics for every interval, and their last states."""
    states = {name: METRICS[name].initial_state(1) for name in names}
    evidence: dict[str, list[float]] = {name: [] for name in names}
    for interval, changed in INTERVALS:
        arrays = build_arrays(interval, SHAPE, 0.5, step_changed=changed)
        updates = update_together([METRICS[name] for name in names], [states[name] for name in names], arrays)
        for name, (state, log_e) in zip(names, updates, strict=True):
            states[name] = state
            evidence[name] += [float(log_e.regression[0]), float(log_e.noninferiority[0])]
    return {name: (evidence[name], states[name]) for name in names}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_gives_the_same_evidence_alone_and_batched_with_others(name: str) -> None:
    (alone, state), (among, of_many) = update_all([name])[name], update_all([*METRICS])[name]
    assert alone == among
    assert any(worse > 0 for worse in alone[::2])
    assert {key: value.tolist() for key, value in state.items()} == {
        key: value.tolist() for key, value in of_many.items()
    }


def test_the_dispersion_is_that_of_each_metrics_own_events() -> None:
    _, errors = update_all([*METRICS])["errorRate"]
    _, shares = update_all([*METRICS])["predictionDrift"]
    assert errors["squares"][0, 0] > 100 > shares["squares"].max()
    assert np.all(shares["freedom"][0, :3] > 0)


def test_the_dispersion_is_pearsons_sum_over_a_metrics_own_events_and_requests() -> None:
    arrays = build_arrays(INTERVALS[3][0], SHAPE, 0.5, step_changed=False)
    updates = update_together([*METRICS.values()], [metric.initial_state(1) for metric in METRICS.values()], arrays)
    state, _ = dict(zip(METRICS, updates, strict=True))["errorRate"]
    # 0, 150 and 2 of 300 requests each.
    rate = 152 / 900
    squares = sum((errors - 300 * rate) ** 2 / (300 * rate * (1 - rate)) for errors in (0, 150, 2))
    assert state["squares"][0, 0] == pytest.approx(squares, abs=1e-3)


def test_the_dispersion_is_not_updated_while_both_versions_are_in_trouble() -> None:
    quiet, state = build_arrays(INTERVALS[0][0], SHAPE, 0.5, step_changed=False), METRICS["latency"].initial_state(1)
    trouble = replace(quiet, shared=np.array([True]))
    (usual, _), (spared, _) = (update_together([METRICS["latency"]], [state], arrays)[0] for arrays in (quiet, trouble))
    assert usual["freedom"].max() > 0
    assert spared["freedom"].max() == 0
