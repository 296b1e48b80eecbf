"""`make bench-analysis`: the operator's rule against its bounds, and against the rules of other tools.

Seeded, on one core. Prints a table, writes artifacts/bench-analysis.json, and exits with 1 when a bound is not met.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.analysis import cases
from bench.analysis.baselines import Argo, Flagger, Kayenta, Policy
from bench.analysis.mistakes import mistakes as all_mistakes
from bench.analysis.operator_policy import OperatorPolicy
from bench.analysis.rollouts import Outcome, run
from bench.analysis.speed import measure
from bench.analysis.traffic import INTERVAL, Scenario, Simulation
from iris_operator.analysis.evidence.logspace import Floats

SEED = 20260101
BASELINES: Sequence[Callable[[int], Policy]] = (Flagger, Argo, Kayenta)


@dataclass(frozen=True)
class Row:
    """One measurement. `bound` is None for the other tools, to which no bound applies."""

    part: str
    scenario: str
    rule: str
    measured: str
    value: float
    bound: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Does the value keep the bound?"""
        return None if self.bound is None else bool(self.value <= self.bound)


def upper_95(hits: int, trials: int) -> float:
    """One-sided upper 95 % Clopper-Pearson bound of a share, by bisection of the binomial distribution."""
    if hits >= trials:
        return 1.0
    low, high = hits / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        logs = [
            math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
            + k * math.log(middle) + (trials - k) * math.log1p(-middle)
            for k in range(hits + 1)
        ]  # fmt: skip
        low, high = (middle, high) if sum(map(math.exp, logs)) > 0.05 else (low, middle)
    return high


def _policy(scenario: Scenario) -> Callable[[int], OperatorPolicy]:
    """The operator's rule with the measurements that the scenario has."""
    return functools.partial(
        OperatorPolicy, labels=bool(scenario.labels), cached=bool(scenario.cached), control=scenario.control
    )


def false_rollbacks(rollouts: int) -> Iterator[Row]:
    """Healthy canaries: the upper 95 % bound of the share of rollbacks is at most alpha."""
    for case in cases.healthy():
        for make in (OperatorPolicy, *BASELINES):
            is_operator = make is OperatorPolicy
            many = max(20, round(rollouts * case.rollouts * (1.0 if is_operator else 0.05)))
            outcome = run(_policy(case.scenario) if is_operator else make, case.scenario, case.plan, many, SEED)
            hits = int(np.isfinite(outcome.rolled_back_at).sum())
            value = upper_95(hits, many) if is_operator else hits / many
            measured = "false rollbacks, upper 95 % bound" if is_operator else "false rollbacks"
            yield Row(
                "healthy",
                case.scenario.name,
                make(1).name,
                measured,
                value,
                cases.ALPHA if is_operator else None,
                f"{hits} of {many}",
            )


def delays(rollouts: int) -> Iterator[Row]:
    """Single faults: the mean delay is at most twice the information limit and one interval; and failed requests."""
    for case in cases.faults():
        failed: dict[str, float] = {}
        for make in (OperatorPolicy, *BASELINES):
            is_operator = make is OperatorPolicy
            many = max(20, round(rollouts * case.rollouts * (0.2 if is_operator else 0.04)))
            outcome = run(_policy(case.scenario) if is_operator else make, case.scenario, case.plan, many, SEED)
            name = make(1).name
            failed[name] = float(outcome.failed.mean())
            yield _delay(case, name, outcome, many, bounded=is_operator)
        if case.scenario.name == "errors 0.1 -> 5 %":
            yield from _failed(case, failed)


def _delay(case: cases.Case, name: str, outcome: Outcome, many: int, *, bounded: bool) -> Row:
    after = outcome.rolled_back_at - case.scenario.onset
    early, found = after <= 0, np.isfinite(after)
    missed = int((~found).sum())
    # A fault that was not found counts with the whole duration, so that missing it does not shorten the mean. A rollout
    # that ended before the fault began has no delay; it is a false rollback.
    longest = case.scenario.seconds - case.scenario.onset
    delays = np.where(found, after, longest if bounded else np.inf)[~early]
    value = float(delays.mean()) if len(delays) else math.inf
    note = f"limit {case.limit:.1f} s" + (
        f" after {case.scenario.labels_late:.0f} s" if case.scenario.labels_late else ""
    )
    note = f"{note}; not found {missed} of {many}, ended before {int(early.sum())}"
    bound = cases.delay_bound(case) if bounded and case.bounded else None
    return Row("fault", case.scenario.name, name, "mean delay, s", value, bound, note)


def _failed(case: cases.Case, failed: dict[str, float]) -> Iterator[Row]:
    for name, value in failed.items():
        bound = failed[Flagger.name] / 10 if name == OperatorPolicy.name else None
        yield Row("fault", case.scenario.name, name, "failed requests before rollback", value, bound)


def promotions_at_the_margin(rollouts: int) -> Iterator[Row]:
    """Canaries that are worse by exactly the margin: the share ever promoted is at most beta. Rollback is off."""
    rollouts = max(20, rollouts // 6)
    for metric, case in cases.at_the_margin():
        policy = _policy(case.scenario)(rollouts)
        simulation = Simulation(case.scenario, rollouts, SEED)
        for interval in simulation.history():
            policy.observe_baseline(interval)
        ever = np.zeros(rollouts, dtype=np.bool_)
        weight, following = np.full(rollouts, case.plan.weights[0]), np.ones(rollouts)
        for start in np.arange(0.0, case.scenario.seconds, INTERVAL):
            policy.decide(simulation.interval(float(start), weight, following, following < start), float(start))
            ever |= policy.passed[metric]
        note = f"{int(ever.sum())} of {rollouts} in {case.scenario.seconds / 60:.0f} min"
        share = float(ever.mean())
        yield Row("margin", case.scenario.name, OperatorPolicy.name, f"promoted by {metric}", share, cases.BETA, note)


def durations(rollouts: int) -> Iterator[Row]:
    """Healthy rollouts: minutes from the first request to all of the traffic."""
    for case in cases.durations():
        for make in (OperatorPolicy, *BASELINES):
            is_operator = make is OperatorPolicy
            many = max(20, rollouts // (10 if is_operator else 50))
            outcome = run(_policy(case.scenario) if is_operator else make, case.scenario, case.plan, many, SEED)
            promoted = int(np.isfinite(outcome.promoted_at).sum())
            ends = [("mean minutes", outcome.last_step_at, case.minutes)]
            if is_operator:
                ends.append(("mean minutes to promotion", outcome.promoted_at, case.minutes_to_promotion))
            for measured, at, bound in ends:
                minutes: Floats = np.minimum(at, case.scenario.seconds) / 60
                note = f"9 of 10 within {np.quantile(minutes, 0.9):.1f}; promoted {promoted} of {many}"
                mean, limit = float(minutes.mean()), bound if is_operator else None
                yield Row("duration", case.scenario.name, make(1).name, measured, mean, limit, note)


def mistakes(rollouts: int) -> Iterator[Row]:
    """Situations in which the rule once decided wrongly."""
    for case in all_mistakes():
        many = max(40, round(rollouts * case.rollouts))
        outcome = run(_policy(case.scenario), case.scenario, case.plan, many, SEED)
        hits = int(case.is_wrong(outcome).sum())
        share, note = hits / many, f"{hits} of {many}"
        yield Row("mistake", case.scenario.name, OperatorPolicy.name, case.wrong, share, case.bound, note)


def speed(_rollouts: int) -> Iterator[Row]:
    """The evaluation itself, on one thread."""
    measured = measure()
    for cached, one in measured.one.items():
        name = "one release" if cached == "0" else f"one release, {cached} % cached"
        note = f"fastest {1000 * one.least:.2f}; a plain loop {1000 * one.loop:.3f}; checkpoint {one.checkpoint} bytes"
        yield Row("speed", name, OperatorPolicy.name, "ms", 1000 * one.median, 2.0, f"{note}; Python {measured.python}")
    yield Row("speed", "1,000 releases", OperatorPolicy.name, "s an interval", measured.fleet, 2.0)


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "speed": speed,
    "faults": delays,
    "durations": durations,
    "margins": promotions_at_the_margin,
    "mistakes": mistakes,
    "healthy": false_rollbacks,
}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="make bench-analysis", description="Measure the analysis.")
    parser.add_argument(
        "--quick", action="store_true", help="one minute: few rollouts, so that shares are only indicative"
    )
    parser.add_argument(
        "--rollouts", type=int, help="simulated healthy rollouts per scenario (default 3000); fewer for the others"
    )
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part; can be repeated")
    parser.add_argument("--out", type=Path, default=Path("artifacts/bench-analysis.json"))
    options = parser.parse_args()
    rollouts = options.rollouts or (60 if options.quick else 3000)
    begun = time.monotonic()
    rows: list[Row] = []
    for name in options.part or PARTS:
        for row in PARTS[name](rollouts):
            rows.append(row)
            print(_line(row), flush=True)
    missed = [row for row in rows if row.met is False]
    took = time.monotonic() - begun
    cpu = time.process_time()
    ran = f"{len(rows)} rows in {took:.0f} s ({cpu:.0f} s of one core), {rollouts} rollouts a scenario"
    print(f"\n{ran}; {len(missed)} bounds not met")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table = [{**asdict(row), "met": row.met} for row in rows]
    options.out.write_text(
        json.dumps({"seed": SEED, "rollouts": rollouts, "seconds": round(took), "rows": table}, indent=1)
    )
    # 60 rollouts are too few to hold a bound on a share: only the complete run fails.
    return int(bool(missed) and not options.quick)


def _line(row: Row) -> str:
    bound = "" if row.bound is None else f"<= {row.bound:.4g}"
    met = {None: "", True: "met", False: "NOT MET"}[row.met]
    return f"{row.scenario:<50.50} {row.rule:<14} {row.measured:<34} {row.value:>10.4g} {bound:>10} {met:<8} {row.note}"


if __name__ == "__main__":
    sys.exit(main())
