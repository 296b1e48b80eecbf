"""E-values of rare events with a control group, and without anything to compare with: by summing over all outcomes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, RevisionArrays, State
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.metrics.batching import update_together
from iris_operator.analysis.metrics.rare import _ALONE, EventCounts, RareEvents

AT_MOST_ONE = 1.0 + 1e-9
N_CANARY, N_CONTROL, N_PRODUCTION = 4, 3, 5
METRIC = RareEvents(lambda revision: EventCounts(revision.errors, revision.requests), 2.0, 0.01)


def binomial(n: int, x: Floats, p: float) -> Floats:
    return np.array([math.comb(n, int(each)) * p**each * (1 - p) ** (n - each) for each in x])


def revision(events: Floats, requests: int) -> RevisionArrays:
    return RevisionArrays(np.full(len(events), float(requests)), events)


def interval(canary: Floats, control: Floats, production: Floats) -> IntervalArrays:
    releases, pods = len(canary), np.full(len(canary), 4.0)
    return IntervalArrays(
        canary=revision(canary, N_CANARY),
        stable=revision(control + production, N_CONTROL + N_PRODUCTION),
        control=revision(control, N_CONTROL),
        control_pods=np.ones(releases),
        pods=None,
        canary_pods=np.ones(releases),
        stable_pods=pods,
        next_share=np.ones(releases),
        step_changed=np.zeros(releases, dtype=np.bool_),
    )


def update(state: State, arrays: IntervalArrays) -> tuple[State, LogEvidence]:
    ((after, evidence),) = update_together([METRIC], [state], arrays)
    return after, evidence


OUTCOMES = np.array([*itertools.product(range(N_CANARY + 1), range(N_CONTROL + 1), range(N_PRODUCTION + 1))], float)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.7])
def test_the_same_rate_everywhere_is_no_evidence_over_two_intervals(rate: float) -> None:
    single = math.prod(
        [binomial(n, column, rate) for n, column in zip((N_CANARY, N_CONTROL, N_PRODUCTION), OUTCOMES.T, strict=True)],
        start=np.ones(len(OUTCOMES)),
    )
    first, second = (axis.ravel() for axis in np.meshgrid(*[np.arange(len(OUTCOMES))] * 2, indexing="ij"))
    state, once = update(METRIC.initial_state(len(first)), interval(*OUTCOMES[first].T))
    _, twice = update(state, interval(*OUTCOMES[second].T))
    both = single[first] * single[second]
    assert both.sum() == pytest.approx(1.0)
    assert float((both * np.exp(once.regression)).sum()) <= AT_MOST_ONE
    assert float((both * np.exp(twice.regression)).sum()) <= AT_MOST_ONE


def test_what_the_control_group_shows_too_is_worth_at_most_fifty_times_the_evidence_against_it() -> None:
    # New pods fail at the same high rate, whatever their version; production never does.
    evidence = []
    for control in (N_CONTROL, 0):
        state = METRIC.initial_state(1)
        bad = interval(np.array([4.0]), np.array([float(control)]), np.zeros(1))
        for _ in range(39):
            state, _ = update(state, bad)
        _, log_e = update(state, bad)
        evidence.append(float(log_e.regression[0]))
    as_bad, better = evidence
    assert as_bad <= math.log(50.0)
    assert better > math.log(1e6)


def alone(events: Floats, requests: int, state: State) -> tuple[State, LogEvidence]:
    arrays = interval(events, np.zeros(len(events)), np.zeros(len(events)))
    nothing = revision(np.zeros(len(events)), 0)
    return update(
        state,
        replace(arrays, canary=revision(events, requests), stable=nothing, control=None),
    )


@pytest.mark.parametrize(("events", "requests"), [(0.0, 10_000.0), (20.0, 1000.0), (300.0, 1000.0)])
def test_a_canary_alone_at_twice_the_recorded_rate_is_no_evidence(events: float, requests: float) -> None:
    n = 60
    state = dict(METRIC.initial_state(n + 1))
    state |= {"xs": np.full(n + 1, events), "ns": np.full(n + 1, requests)}
    outcomes = np.arange(n + 1.0)
    after, evidence = alone(outcomes, n, state)
    # At most twice the recorded rate, and no less than the harm that is tolerated anyway.
    rate = min(0.5, max(2.0 * events / requests, 0.01))
    probability = binomial(n, outcomes, rate)
    for column in range(len(_ALONE)):
        assert float((probability * np.exp(after["alone"][:, column])).sum()) <= AT_MOST_ONE
    assert float((probability * np.exp(evidence.regression)).sum()) <= AT_MOST_ONE


def test_a_canary_alone_with_far_more_than_the_recorded_rate_is_evidence() -> None:
    state = {**METRIC.initial_state(1), "xs": np.array([2.0]), "ns": np.array([2000.0])}
    _, evidence = alone(np.array([30.0]), 200, state)
    assert float(evidence.regression[0]) > math.log(1000.0)


def test_a_release_that_is_alone_changes_no_other_of_its_batch() -> None:
    events = np.array([3.0, 4.0])
    arrays = interval(events, np.zeros(2), np.zeros(2))
    _, usual = update(METRIC.initial_state(2), arrays)
    stable = RevisionArrays(np.array([0.0, 8.0]), np.zeros(2))
    control = RevisionArrays(np.array([0.0, 3.0]), np.zeros(2))
    _, mixed = update(METRIC.initial_state(2), replace(arrays, stable=stable, control=control))
    assert mixed.regression[1] == usual.regression[1]
    assert mixed.regression[0] != usual.regression[0]
