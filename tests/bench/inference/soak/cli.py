"""The command line of the soak."""

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.inference.load import LoadError
from bench.inference.serving import ServingError
from bench.inference.soak import result
from bench.inference.soak.soak import SoakConfig, soak
from bench.inference.terminal import ARTIFACTS, FAILED, MISSED, PASSED, CoresError, TimedLog, console, pin_to_load_core

_SECONDS = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak test. Returns the exit code: 0 passed, 1 failed, 2 it could not be carried out."""
    options = _parser().parse_args(arguments)
    terminal = console()
    plan = SoakConfig(options.minutes * _SECONDS, options.rate, options.share, options.connections)
    try:
        pin_to_load_core()
        seen = soak(plan, TimedLog(terminal))
    except (CoresError, ServingError, LoadError, subprocess.SubprocessError, ValueError) as error:
        terminal.print(f"could not soak: {error}", markup=False)
        return FAILED
    except KeyboardInterrupt:
        terminal.print("interrupted")
        return FAILED
    result.write(seen, options.out)
    result.show(seen, terminal)
    terminal.print(f"all samples: {options.out}")
    return PASSED if seen.passed else MISSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.inference.soak",
        description="Loads the prediction service at a constant rate: does its memory grow, is any record lost?",
    )
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="how long (%(default)s)")
    parser.add_argument("--share", type=float, default=0.7, metavar="X", help="of what it can answer (%(default)s)")
    parser.add_argument("--rate", type=float, metavar="N", help="requests a second, instead of measuring a share")
    parser.add_argument("--connections", type=int, default=64, metavar="N", help="at most (%(default)s)")
    parser.add_argument("--out", type=Path, default=ARTIFACTS / "soak-inference.json", help="%(default)s")
    return parser
