"""The command line of the training package."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from iris_training.export import MANIFEST_FILE, MODEL_FILE, export
from iris_training.parity import ParityError
from iris_training.recipes import RECIPES, Packaging

EPILOG = f"""\
What happens in an export:
  1. the recipe is trained on scikit-learn's Iris data set, always with the same seed
  2. the model is converted to ONNX and held against scikit-learn, label by label
  3. {MODEL_FILE} and {MANIFEST_FILE} are written; the manifest carries the SHA-256 of the model,
     and the prediction service refuses a file that does not match it

Example:
  python -m iris_training export --recipe 2.0.0 --out model
  IRIS_MODEL_DIR=model python -m iris_inference
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns the exit code: 0 done, 1 the export failed its own check, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    if options.command == "recipes":
        return _list_recipes()
    return _export(options.recipe, options.version or options.recipe, options.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m iris_training",
        description="Trains an Iris model and packages it for the prediction service.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("recipes", help="list the recipes and what each is for")
    exporting = commands.add_parser(
        "export",
        help=f"train one recipe and write {MODEL_FILE} and {MANIFEST_FILE}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    exporting.add_argument("--recipe", required=True, choices=sorted(RECIPES), help="which model to make")
    exporting.add_argument("--version", help="version to write into the manifest (default: the recipe's name)")
    exporting.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to, made if missing")
    return parser


def _list_recipes() -> int:
    for recipe in RECIPES.values():
        print(f"{recipe.name}  {recipe.summary}")
    return 0


def _export(recipe_name: str, version: str, out: Path) -> int:
    try:
        done = export(RECIPES[recipe_name], version, out)
    except ParityError as error:
        print(f"export refused: {error}", file=sys.stderr)
        return 1
    print(f"{out / MODEL_FILE}: version {done.version}, {done.size_bytes:,} bytes, sha256 {done.sha256}")
    print(
        f"cross-validated accuracy {done.accuracy:.3f}; agrees with scikit-learn on {done.parity.points} points, "
        f"largest difference of a probability {done.parity.max_probability_difference:.1e}"
    )
    if done.packaging is not Packaging.WHOLE:
        print(f"note: this recipe's file is {done.packaging.value} on purpose and does not match its manifest")
    return 0
