"""The command line of the demo."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from rich.console import Console

from iris_demo import runner, scenario, setup, summary
from iris_demo.addresses import PAGES
from iris_demo.calibrate_rate import HIGHEST_RATE
from iris_demo.exec import CommandError
from iris_demo.kubeconfig import ForeignContextError, local_kubeconfig, require_local_context
from iris_demo.result import DemoResult, as_json
from iris_demo.terminal import Terminal

EXIT_UNEXPECTED_OUTCOME = 1
EXIT_CANNOT_RUN = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when everything ended as expected, 1 when not, 2 when it could not run."""
    parser = argparse.ArgumentParser(
        prog="python -m iris_demo",
        description="Releases of the Iris model under constant traffic, shown live and judged.",
    )
    parser.add_argument(
        "--act",
        choices=sorted(scenario.SCENARIOS),
        default="loud",
        help="loud: releases that fail requests or pods; silent: quality regressions without a failed request",
    )
    parser.add_argument(
        "--rate",
        type=float,
        help=f"requests a second through the Ingress (default: calibrated, at most {HIGHEST_RATE:g})",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="VERSION",
        help="run the scenario's first release and this one; may be repeated",
    )
    parser.add_argument("--keep-going", action="store_true", help="go on after a release with an unexpected outcome")
    parser.add_argument("--no-setup", action="store_true", help="the cluster is already up and deployed")
    parser.add_argument("--output", type=Path, help="where to write the result (default artifacts/demo.json)")
    parser.add_argument("--kubeconfig", type=Path, default=local_kubeconfig(), help="must be the local cluster's")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        selected = scenario.SCENARIOS[options.act]
        releases = selected.select(options.only)
        output = options.output or Path(
            "artifacts", "demo.json" if selected is scenario.LOUD else f"demo-{selected.name}.json"
        )
        if not options.no_setup:
            setup.prepare()
        require_local_context(options.kubeconfig)
        config = runner.DemoConfig(
            selected, releases, options.rate, options.keep_going, options.kubeconfig, output.parent
        )
        result = asyncio.run(runner.run(config, Terminal(console)))
    except (ValueError, setup.SetupError, ForeignContextError, CommandError, runner.NotReadyError) as error:
        console.print(f"demo: {error}", style="bold red")
        return EXIT_CANNOT_RUN
    write(result, output)
    summary.print_summary(result, console)
    console.print(f"written to {output}")
    console.print("until `make cluster-down`:")
    for name, address in PAGES.items():
        console.print(f"{name:<14}{address}")
    return 0 if result.passed else EXIT_UNEXPECTED_OUTCOME


def write(result: DemoResult, path: Path) -> None:
    """Write the result as JSON; an interrupted write leaves the earlier file intact."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(as_json(result), indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
