"""`make bench-analysis`: the rule against the bounds that were set for it, and against what others would have done.

Seeded; one core. Prints a table, writes artifacts/bench-analysis.json, and exits with 1 when a bound is not met.
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
from bench.analysis.ours import Ours
from bench.analysis.peers import Argo, Flagger, Kayenta, Policy
from bench.analysis.rollouts import Outcome, run
from bench.analysis.speed import measure
from bench.analysis.traffic import INTERVAL, Scenario, Simulation
from iris_operator.analysis.evidence.logspace import Floats

SEED = 20260101
PEERS: Sequence[Callable[[int], Policy]] = (Flagger, Argo, Kayenta)


@dataclass(frozen=True)
class Row:
    """One measurement. `bound` is None where nothing was promised: the others' rows."""

    part: str
    scenario: str
    rule: str
    measured: str
    value: float
    bound: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Is the bound kept?"""
        return None if self.bound is None else bool(self.value <= self.bound)


def upper_95(hits: int, trials: int) -> float:
    """Clopper-Pearson's one-sided upper 95 % bound of a share, by bisection of the binomial distribution."""
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


def _ours(scenario: Scenario) -> Callable[[int], Ours]:
    """The rule for what is measured of the service in this scenario."""
    return functools.partial(Ours, labels=bool(scenario.labels), cached=bool(scenario.cached))


def false_rollbacks(rollouts: int) -> Iterator[Row]:
    """Of healthy canaries: the upper 95 % bound of the share at most alpha."""
    for case in cases.healthy():
        for make in (Ours, *PEERS):
            ours = make is Ours
            many = max(20, round(rollouts * case.rollouts * (1.0 if ours else 0.05)))
            outcome = run(_ours(case.scenario) if ours else make, case.scenario, case.plan, many, SEED)
            hits = int(np.isfinite(outcome.rolled_back_at).sum())
            value = upper_95(hits, many) if ours else hits / many
            measured = "false rollbacks, upper 95 % bound" if ours else "false rollbacks"
            yield Row(
                "healthy",
                case.scenario.name,
                make(1).name,
                measured,
                value,
                cases.ALPHA if ours else None,
                f"{hits} of {many}",
            )


def delays(rollouts: int) -> Iterator[Row]:
    """Of the single faults: the mean at most twice the information limit and one interval; and failed requests."""
    for case in cases.faults():
        failed: dict[str, float] = {}
        for make in (Ours, *PEERS):
            ours = make is Ours
            many = max(20, round(rollouts * case.rollouts * (0.2 if ours else 0.04)))
            outcome = run(_ours(case.scenario) if ours else make, case.scenario, case.plan, many, SEED)
            name = make(1).name
            failed[name] = float(outcome.failed.mean())
            yield _delay(case, name, outcome, many, bounded=ours)
        if case.scenario.name == "errors 0.1 -> 5 %":
            yield from _failed(case, failed)


def _delay(case: cases.Case, name: str, outcome: Outcome, many: int, *, bounded: bool) -> Row:
    after = outcome.rolled_back_at - case.scenario.onset
    early, found = after <= 0, np.isfinite(after)
    missed = int((~found).sum())
    # A fault that was not found in time counts with all of that time: no delay looks shorter by missing it. A rollout
    # that ended before the fault began has no delay; it is a false rollback.
    longest = case.scenario.seconds - case.scenario.onset
    delays = np.where(found, after, longest if bounded else np.inf)[~early]
    value = float(delays.mean()) if len(delays) else math.inf
    note = f"limit {case.limit:.1f} s" + (
        f" after {case.scenario.labels_late:.0f} s" if case.scenario.labels_late else ""
    )
    return Row("fault", case.scenario.name, name, "mean delay, s", value, cases.delay_bound(case) if bounded else None,
               f"{note}; not found {missed} of {many}, ended before {int(early.sum())}")  # fmt: skip


def _failed(case: cases.Case, failed: dict[str, float]) -> Iterator[Row]:
    for name, value in failed.items():
        bound = failed[Flagger.name] / 10 if name == Ours.name else None
        yield Row("fault", case.scenario.name, name, "failed requests before rollback", value, bound)


def promotions_at_the_margin(rollouts: int) -> Iterator[Row]:
    """Of a canary that is bad by exactly the margin: let go on ever within the time, at most beta. Rollback is off."""
    rollouts = max(20, rollouts // 6)
    for metric, case in cases.at_the_margin():
        policy = _ours(case.scenario)(rollouts)
        simulation = Simulation(case.scenario, rollouts, SEED)
        for look in simulation.history():
            policy.learn(look)
        ever = np.zeros(rollouts, dtype=np.bool_)
        weight, following = np.full(rollouts, case.plan.weights[0]), np.ones(rollouts)
        for start in np.arange(0.0, case.scenario.seconds, INTERVAL):
            policy.answer(simulation.interval(float(start), weight, following, following < start), float(start))
            ever |= policy.passed[metric]
        yield Row("margin", case.scenario.name, Ours.name, f"promoted by {metric}", float(ever.mean()), cases.BETA,
                  f"{int(ever.sum())} of {rollouts} in {case.scenario.seconds / 60:.0f} min")  # fmt: skip


def durations(rollouts: int) -> Iterator[Row]:
    """Of healthy rollouts: from the first request to all of the traffic."""
    for quick in cases.durations():
        for make in (Ours, *PEERS):
            ours = make is Ours
            many = max(20, rollouts // (10 if ours else 50))
            outcome = run(_ours(quick.scenario) if ours else make, quick.scenario, quick.plan, many, SEED)
            minutes: Floats = np.minimum(outcome.promoted_at, quick.scenario.seconds) / 60
            promoted = int(np.isfinite(outcome.promoted_at).sum())
            note = f"9 of 10 within {np.quantile(minutes, 0.9):.1f}; promoted {promoted} of {many}"
            yield Row(
                "duration",
                quick.scenario.name,
                make(1).name,
                "mean minutes",
                float(minutes.mean()),
                quick.minutes if ours else None,
                note,
            )


def speed(_rollouts: int) -> Iterator[Row]:
    """Of the evaluation itself, on one thread."""
    measured = measure()
    for cached, one in measured.one.items():
        name = "one release" if cached == "0" else f"one release, {cached} % cached"
        note = f"fastest {1000 * one.least:.2f}; a plain loop {1000 * one.loop:.3f}; {one.memory} bytes of memory"
        yield Row("speed", name, Ours.name, "ms", 1000 * one.median, 2.0, f"{note}; Python {measured.python}")
    yield Row("speed", "1,000 releases", Ours.name, "s an interval", measured.fleet, 2.0)


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "speed": speed,
    "faults": delays,
    "durations": durations,
    "margins": promotions_at_the_margin,
    "healthy": false_rollbacks,
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make bench-analysis", description="Measure the analysis.")
    parser.add_argument(
        "--quick", action="store_true", help="a minute: few rollouts, so that shares are only indicative"
    )
    parser.add_argument(
        "--rollouts", type=int, help="simulated healthy rollouts by scenario; 3000; fewer for the others"
    )
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part; may be given again")
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
    # A share of 60 rollouts bounds nothing: the quick run shows, the complete one judges.
    return int(bool(missed) and not options.quick)


def _line(row: Row) -> str:
    bound = "" if row.bound is None else f"<= {row.bound:.4g}"
    met = {None: "", True: "met", False: "NOT MET"}[row.met]
    return f"{row.scenario:<50.50} {row.rule:<14} {row.measured:<34} {row.value:>10.4g} {bound:>10} {met:<8} {row.note}"


if __name__ == "__main__":
    sys.exit(main())
