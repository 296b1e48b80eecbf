"""The command line: write the generated files, or list the outdated ones."""

from __future__ import annotations

import argparse

from iris_observability import generated


def main(arguments: list[str] | None = None) -> int:
    """Write, or with ``--check`` only compare; 1 when something differs."""
    parser = argparse.ArgumentParser(prog="python -m iris_observability", description=generated.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    if parser.parse_args(arguments).check:
        outdated = generated.outdated()
        for path in outdated:
            print(f"{path.relative_to(generated.ROOT)} differs from what `make dashboards` writes")
        return 1 if outdated else 0
    generated.write()
    return 0
