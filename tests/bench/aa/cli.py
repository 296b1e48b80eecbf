"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.aa import plan, result, runner, table
from bench.aa.record import Record
from bench.inference.machine import commit, machine
from bench.inference.terminal import ARTIFACTS, FAILED, MISSED, PASSED, TimedLog, console
from iris_demo import setup
from iris_demo.kubeconfig import ForeignContextError, local_kubeconfig, require_local_context


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure. Returns the exit code: 0 all bounds met, 1 one missed or a rollout not made, 2 it could not run."""
    options = _parser().parse_args(arguments)
    terminal = console()
    groups = plan.plan(options.only or (), options.rollouts, options.repetitions, quick=options.quick)
    planned = sum(len(group.cases) for group in groups)
    if options.dry_run:
        for group in groups:
            for case in group.cases:
                terminal.print(f"{group.release:<24} {case.name}, about {case.expected_seconds:.0f} s", markup=False)
        terminal.print(f"{planned} rollouts, about {plan.expected_seconds(groups) / 60:.0f} min one after the other")
        return PASSED
    # Otherwise it would leave a release and its load behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started, began = datetime.now(UTC), time.monotonic()
    records: list[Record] = []
    stopped = ""
    try:
        if not options.no_setup:
            setup.prepare()
        require_local_context(options.kubeconfig)
        log = TimedLog(terminal)
        log(f"{planned} rollouts, about {plan.expected_seconds(groups) / 60:.0f} min one after the other")
        asyncio.run(runner.run(runner.RunConfig(groups, options.parallel, options.kubeconfig), log, records.append))
    except (setup.SetupError, ForeignContextError, runner.BenchError) as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "interrupted"
    if stopped:
        terminal.print(f"could not measure: {stopped}", markup=False)
        if not records:
            return FAILED
    # What was measured is written also when the rest could not be: an hour of rollouts is not to be lost.
    measured = result.Result(
        commit(), started.isoformat(timespec="seconds"), time.monotonic() - began, machine(), planned, records, stopped
    )
    result.write(measured, options.out)
    table.show(measured, terminal)
    terminal.print(f"every rollout: {options.out}", markup=False)
    if stopped:
        return FAILED
    return PASSED if measured.passed else MISSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.aa",
        description="Rollouts of an identical version on the local cluster, none of which may be rolled back, and of "
        "versions with a known fault, which have to be found. Default margins.",
    )
    parser.add_argument("--only", nargs="+", choices=plan.KINDS, metavar="KIND", help=f"of: {', '.join(plan.KINDS)}")
    parser.add_argument(
        "--rollouts",
        type=int,
        default=len(plan.IDENTICAL_CASES),
        metavar="N",
        help="of an identical version (%(default)s)",
    )
    parser.add_argument(
        "--repetitions", type=int, default=plan.REPETITIONS, metavar="N", help="of each fault (%(default)s)"
    )
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="releases at the same time (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few of each: to try it, not to quote it")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and how long it takes, about")
    parser.add_argument("--no-setup", action="store_true", help="the cluster is already up and deployed")
    parser.add_argument("--kubeconfig", type=Path, default=local_kubeconfig(), help="must be the local cluster's")
    parser.add_argument("--out", type=Path, default=ARTIFACTS / "bench-aa.json", help="%(default)s")
    return parser
