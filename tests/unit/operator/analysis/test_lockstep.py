"""Metrics that go through an interval together, and each of them alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from iris_operator.analysis.check import Shape
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.gather import look_of
from iris_operator.analysis.look import Metric, State
from iris_operator.analysis.metrics.lockstep import fold_together
from iris_operator.analysis.registry import build_checks
from iris_operator.api.spec import AccuracyCheck, Checks
from unit.operator.analysis.observed import BOUNDS, revision

SHAPE = Shape(BOUNDS, ("a", "b", "c", "others"), paired=True)
METRICS: dict[str, Metric] = {
    name: check.metric() for name, check in build_checks(Checks(accuracy=AccuracyCheck()), SHAPE).items()
}


def labelled(counts: RequestCounts, wrong: int) -> RequestCounts:
    return replace(counts, correct=counts.total // 2 - wrong, incorrect=wrong)


# Errors, durations, classes and labels move; pods that differ; a first interval of a step; labels that stay away.
INTERVALS = [
    (Interval(labelled(revision(100), 4), labelled(revision(900, 1, pods=3), 30), paired=(3, 1)), False),
    (Interval(labelled(revision(100, 7, slow=30), 9), labelled(revision(900, 2, pods=3), 31), paired=(9, 1)), True),
    (
        Interval(
            revision(120, 2, slow=90, classes={"a": 90, "b": 30}), revision(800, 40, slow=90, pods=4), paired=(0, 0)
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


def through(names: list[str]) -> dict[str, tuple[list[float], State]]:
    """What each of these says of every interval, and what it remembers at last."""
    states = {name: METRICS[name].start(1) for name in names}
    said: dict[str, list[float]] = {name: [] for name in names}
    for interval, changed in INTERVALS:
        look = look_of(interval, SHAPE, 0.5, step_changed=changed)
        folded = fold_together([METRICS[name] for name in names], [states[name] for name in names], look)
        for name, (state, signals) in zip(names, folded, strict=True):
            states[name] = state
            said[name] += [float(signals.worse[0]), float(signals.good[0])]
    return {name: (said[name], states[name]) for name in names}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_the_same_alone_and_among_others(name: str) -> None:
    (alone, state), (among, of_many) = through([name])[name], through([*METRICS])[name]
    assert alone == among
    assert any(worse > 0 for worse in alone[::2])
    assert {key: value.tolist() for key, value in state.items()} == {
        key: value.tolist() for key, value in of_many.items()
    }


def test_noise_between_pods_is_that_of_each_metric_s_own_events() -> None:
    _, errors = through([*METRICS])["errorRate"]
    _, shares = through([*METRICS])["predictionDrift"]
    assert errors["squares"][0, 0] > 100 > shares["squares"].max()
    assert np.all(shares["freedom"][0, :3] > 0)


def test_noise_is_pearson_s_sum_over_a_metric_s_own_events_and_requests() -> None:
    look = look_of(INTERVALS[3][0], SHAPE, 0.5, step_changed=False)
    folded = fold_together([*METRICS.values()], [metric.start(1) for metric in METRICS.values()], look)
    state, _ = dict(zip(METRICS, folded, strict=True))["errorRate"]
    # 0, 150 and 2 of 300 requests each.
    rate = 152 / 900
    squares = sum((errors - 300 * rate) ** 2 / (300 * rate * (1 - rate)) for errors in (0, 150, 2))
    assert state["squares"][0, 0] == pytest.approx(squares, abs=1e-3)


def test_an_incident_teaches_nothing_of_the_noise_between_pods() -> None:
    quiet, state = look_of(INTERVALS[0][0], SHAPE, 0.5, step_changed=False), METRICS["latency"].start(1)
    trouble = replace(quiet, incident=np.array([True]))
    (usual, _), (spared, _) = (fold_together([METRICS["latency"]], [state], look)[0] for look in (quiet, trouble))
    assert usual["freedom"].max() > 0
    assert spared["freedom"].max() == 0
