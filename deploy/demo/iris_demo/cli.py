"""The command line of the demo."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from rich.console import Console

from iris_demo import pace, scenario, setup, story, summary
from iris_demo.addresses import PAGES
from iris_demo.inside import CommandError
from iris_demo.kube import ForeignContextError, local_kubeconfig, refuse_foreign_context
from iris_demo.result import Result, as_json
from iris_demo.screen import Screen

EXIT_SURPRISED = 1
EXIT_UNABLE = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when everything ended as expected, 1 when not, 2 when it could not run."""
    parser = argparse.ArgumentParser(
        prog="python -m iris_demo",
        description="Releases of the Iris model under constant traffic, watched live and judged.",
    )
    parser.add_argument(
        "--act", choices=sorted(scenario.ACTS), default="loud", help="which releases: loudly or silently bad ones"
    )
    parser.add_argument(
        "--rate",
        type=float,
        help=f"requests a second through the Ingress (default: what suits the machine, at most {pace.HIGHEST:g})",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="VERSION",
        help="run the act's first release and this one; may be repeated",
    )
    parser.add_argument("--keep-going", action="store_true", help="go on after a release that ended otherwise")
    parser.add_argument("--no-setup", action="store_true", help="the cluster is up and deployed: start at once")
    parser.add_argument("--output", type=Path, help="where the result is written (default artifacts/demo.json)")
    parser.add_argument("--kubeconfig", type=Path, default=local_kubeconfig(), help="must be the local cluster's")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        act = scenario.ACTS[options.act]
        releases = act.chosen(options.only)
        output = options.output or Path("artifacts", "demo.json" if act is scenario.LOUD else f"demo-{act.name}.json")
        if not options.no_setup:
            setup.prepare()
        refuse_foreign_context(options.kubeconfig)
        plan = story.Plan(act, releases, options.rate, options.keep_going, options.kubeconfig, output.parent)
        result = asyncio.run(story.run(plan, Screen(console)))
    except (ValueError, setup.SetupError, ForeignContextError, CommandError, story.NotReadyError) as error:
        console.print(f"demo: {error}", style="bold red")
        return EXIT_UNABLE
    write(result, output)
    summary.show(result, console)
    console.print(f"written to {output}")
    console.print("until `make cluster-down`:")
    for name, address in PAGES.items():
        console.print(f"{name:<14}{address}")
    return 0 if result.passed else EXIT_SURPRISED


def write(result: Result, path: Path) -> None:
    """Write the result as JSON; an interrupted write leaves the earlier file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(as_json(result), indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
