"""The command line of the benchmark."""

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.inference import result, table
from bench.inference.benchmark import BenchmarkConfig, benchmark
from bench.inference.cases import CASES
from bench.inference.load import LoadError
from bench.inference.measure import Duration
from bench.inference.serving import ServingError
from bench.inference.terminal import ARTIFACTS, FAILED, MISSED, PASSED, CoresError, TimedLog, console, pin_to_load_core


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure. Returns the exit code: 0 all bounds met, 1 a bound missed or a run void, 2 it could not be measured."""
    options = _parser().parse_args(arguments)
    terminal = console()
    try:
        pin_to_load_core()
        measured = benchmark(_plan(options), TimedLog(terminal))
    except (CoresError, ServingError, LoadError, subprocess.SubprocessError) as error:
        terminal.print(f"could not measure: {error}", markup=False)
        return FAILED
    except KeyboardInterrupt:
        terminal.print("interrupted")
        return FAILED
    result.write(measured, options.out)
    table.show(measured, terminal)
    terminal.print(f"all repetitions: {options.out}")
    return PASSED if measured.passed else MISSED


def _plan(options: argparse.Namespace) -> BenchmarkConfig:
    cases = [CASES[name] for name in options.only or CASES]
    if options.quick:
        return BenchmarkConfig(cases, 1, Duration(1, 3), options.connections, 2, options.seed)
    return BenchmarkConfig(
        cases, options.repetitions, Duration(3, options.seconds), options.connections, 5, options.seed
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.inference",
        description="Compares the prediction service with MLServer, BentoML and others, and checks its bounds.",
    )
    parser.add_argument("--quick", action="store_true", help="one repetition of 3 s each: to try it, not to quote it")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="how often each (%(default)s)")
    parser.add_argument("--seconds", type=int, default=10, metavar="N", help="how long each time (%(default)s)")
    parser.add_argument("--connections", type=int, default=32, metavar="N", help="at the same time (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the instances (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="CASE", help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--out", type=Path, default=ARTIFACTS / "bench-inference.json", help="%(default)s")
    return parser
