"""`iris-analysis`: record a past release, run the rule over what was recorded, to try margins, and draw evidence.

`python -m iris_operator.cli --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from iris_operator.adapters.prometheus.client import PrometheusClient
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import Analysis
from iris_operator.cli.picture import WrongEvidence, draw, read
from iris_operator.cli.record import NothingRecorded, Wanted, record
from iris_operator.cli.replay import run
from iris_operator.engine.ports import MetricsUnavailable

_TIMEOUT_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when it is done and found no Fail, 1 with one, 2 when it could not be done."""
    options = _parser().parse_args(arguments)
    if options.command == "record":
        return _record(options)
    if options.command == "draw":
        return _draw(options)
    return run(options.file, _settings(options), options.png)


def _record(options: argparse.Namespace) -> int:
    until = time.time() if options.until is None else options.until
    window = parse_duration(options.window)
    wanted = Wanted(options.namespace, options.release, options.version, until, window)
    client = PrometheusClient(options.prometheus, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        lines = asyncio.run(record(client, wanted, parse_duration(options.interval), options.file))
    except (NothingRecorded, MetricsUnavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {options.file}: {lines} intervals")
    return 0


def _draw(options: argparse.Namespace) -> int:
    try:
        lines, weights = read(options.file)
        draw(lines, options.png, title=options.title, weights=weights)
    except (WrongEvidence, ModuleNotFoundError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {options.png}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iris-analysis", description="Record releases, judge what was recorded, draw."
    )
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("record", help="write what a past release was judged by, from Prometheus")
    command.add_argument("file", type=Path, help="CSV to write, for `replay`")
    command.add_argument("--prometheus", required=True, metavar="URL", help="the Prometheus of the operator")
    command.add_argument("--namespace", default="iris")
    command.add_argument("--release", required=True, help="name of the IrisModelRelease")
    command.add_argument("--version", required=True, help="the canary's version; its newest rollout is taken")
    command.add_argument("--interval", default="10s", help="as in spec.rollout.interval (default 10s)")
    command.add_argument("--window", default="1h", help="how far back to look (default 1h)")
    command.add_argument("--until", type=float, help="end of the window, seconds since 1970 (default: now)")
    command = commands.add_parser("replay", help="run the rule over recorded counts")
    command.add_argument("file", type=Path, help="CSV: second, next_weight, canary_..., stable_... (docs/analysis.md)")
    command.add_argument("--png", type=Path, help="draw the evidence of every check into this file; needs matplotlib")
    margins = command.add_argument_group("margins, as in spec.analysis")
    margins.add_argument("--false-rollback", type=float)
    margins.add_argument("--missed-regression", type=float)
    for name in ("--max-ratio", "--max-harm", "--max-slower", "--max-shift", "--max-drop"):
        margins.add_argument(name, type=float)
    command = commands.add_parser("draw", help="draw evidence that was written down elsewhere; needs matplotlib")
    command.add_argument("file", type=Path, help="CSV: second, weight, and a column a check (docs/analysis.md)")
    command.add_argument("--png", type=Path, required=True, help="file to draw into")
    command.add_argument("--title", default="")
    return parser


def _settings(options: argparse.Namespace) -> Analysis:
    given = {
        "errorRate": {"maxRatio": options.max_ratio, "maxHarm": options.max_harm},
        "inferenceFailures": {"maxRatio": options.max_ratio, "maxHarm": options.max_harm},
        "latency": {"maxSlower": options.max_slower},
        "predictionDrift": {"maxShift": options.max_shift},
        "accuracy": {"maxDrop": options.max_drop} if options.max_drop is not None else None,
    }
    checks = {
        name: {key: value for key, value in fields.items() if value is not None}
        for name, fields in given.items()
        if fields is not None
    }
    both = {"falseRollback": options.false_rollback, "missedRegression": options.missed_regression}
    return Analysis.model_validate(
        {"checks": checks, **{key: value for key, value in both.items() if value is not None}}
    )


if __name__ == "__main__":
    sys.exit(main())
