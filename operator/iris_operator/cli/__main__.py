"""`iris-analysis`: record a past release, replay a recording with other margins, and plot evidence.

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
from iris_operator.analysis.registry import EVIDENCE_CHECKS
from iris_operator.api.checks import Analysis
from iris_operator.api.durations import parse_duration
from iris_operator.cli.plot import InvalidEvidence, plot_evidence, read_evidence
from iris_operator.cli.record import RolloutNotFound, RolloutQuery, record
from iris_operator.cli.replay import run
from iris_operator.engine.ports import MetricsUnavailable

_TIMEOUT_SECONDS = 60.0
# All counters of a rollout in one result, on a machine of one's own.
_MAX_RESULT_BYTES = 2**30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. The exit code is 0 on success without a Fail, 1 with a Fail, 2 when the command failed."""
    options = _parser().parse_args(arguments)
    if options.command == "record":
        return _record(options)
    if options.command == "draw":
        return _draw(options)
    return run(options.file, _settings(options), options.png)


def _record(options: argparse.Namespace) -> int:
    until = time.time() if options.until is None else options.until
    window = parse_duration(options.window)
    query = RolloutQuery(options.namespace, options.release, options.version, until, window)
    client = PrometheusClient(options.prometheus, timeout_seconds=_TIMEOUT_SECONDS, max_result_bytes=_MAX_RESULT_BYTES)
    try:
        lines = asyncio.run(record(client, query, parse_duration(options.interval), options.file))
    except (RolloutNotFound, MetricsUnavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {options.file}: {lines} intervals")
    return 0


def _draw(options: argparse.Namespace) -> int:
    try:
        evidence, weights = read_evidence(options.file)
        plot_evidence(evidence, options.png, title=options.title, weights=weights)
    except (InvalidEvidence, ModuleNotFoundError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {options.png}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iris-analysis", description="Record releases, judge the recordings, plot the evidence."
    )
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("record", help="write the counts that a past release was judged by, from Prometheus")
    command.add_argument("file", type=Path, help="CSV to write, for `replay`")
    command.add_argument("--prometheus", required=True, metavar="URL", help="the Prometheus of the operator")
    command.add_argument("--namespace", default="iris")
    command.add_argument("--release", required=True, help="name of the IrisModelRelease")
    command.add_argument("--version", required=True, help="the canary's version; its newest rollout is recorded")
    command.add_argument("--interval", default="10s", help="as in spec.rollout.interval (default 10s)")
    command.add_argument("--window", default="1h", help="how far back to look (default 1h)")
    command.add_argument("--until", type=float, help="end of the window, seconds since 1970 (default: now)")
    command = commands.add_parser("replay", help="run the rule over recorded counts")
    command.add_argument("file", type=Path, help="CSV: second, next_weight, canary_..., stable_... (docs/analysis.md)")
    command.add_argument("--png", type=Path, help="plot the evidence of every check into this file; needs matplotlib")
    margins = command.add_argument_group("margins, as in spec.analysis")
    margins.add_argument("--false-rollback", type=float)
    margins.add_argument("--missed-regression", type=float)
    for name in dict.fromkeys(margin for check in EVIDENCE_CHECKS for margin in check.margins):
        margins.add_argument(f"--{name.replace('_', '-')}", type=float)
    command = commands.add_parser("draw", help="plot evidence from a CSV file; needs matplotlib")
    command.add_argument("file", type=Path, help="CSV: second, weight, and one column per check (docs/analysis.md)")
    command.add_argument("--png", type=Path, required=True, help="file to write")
    command.add_argument("--title", default="")
    return parser


def _settings(options: argparse.Namespace) -> Analysis:
    given = {
        check.name: {margin: value for margin in check.margins if (value := getattr(options, margin)) is not None}
        for check in EVIDENCE_CHECKS
    }
    levels = {"falseRollback": options.false_rollback, "missedRegression": options.missed_regression}
    return Analysis.model_validate(
        {
            # A check without a margin given keeps its default, which may be off.
            "checks": {name: margins for name, margins in given.items() if margins},
            **{name: value for name, value in levels.items() if value is not None},
        }
    )


if __name__ == "__main__":
    sys.exit(main())
