"""The command line of the training package."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from iris_training.export import MANIFEST_FILE, MODEL_FILE, export
from iris_training.parity import ParityError
from iris_training.recipes import RECIPES, Packaging
from iris_training.signing import SIGNATURE_FILE, SigningError, create_key, read_key, sign

EPILOG = f"""\
What happens in an export:
  1. the recipe is trained on scikit-learn's Iris data set, always with the same seed
  2. the model is converted to ONNX and held against scikit-learn, label by label
  3. {MODEL_FILE} and {MANIFEST_FILE} are written; the manifest carries the SHA-256 of the model,
     and the prediction service refuses a file that does not match it
  4. with --key, or later by `sign`, {SIGNATURE_FILE} is written: who has IRIS_MODEL_PUBLIC_KEYS set serves
     nothing else than what one of those keys signed

Example:
  python -m iris_training export --recipe 2.0.0 --out model
  IRIS_MODEL_DIR=model python -m iris_inference

Signed:
  python -m iris_training keygen --out key.pem          # prints the public key; keep the file away from everybody
  python -m iris_training export --recipe 2.0.0 --out model --key key.pem
  IRIS_MODEL_PUBLIC_KEYS=MCowBQYDK2VwAyEA... IRIS_MODEL_DIR=model python -m iris_inference
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns the exit code: 0 done, 1 refused with the reason, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "recipes":
                return _list_recipes()
            case "keygen":
                return _keygen(options.out)
            case "sign":
                return _sign(options.model, read_key(options.key))
            case _:
                return _export(options)
    except ParityError as error:
        print(f"export refused: {error}", file=sys.stderr)
    except SigningError as error:
        print(error, file=sys.stderr)
    return 1


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
    exporting.add_argument("--key", type=Path, metavar="FILE", help="private key (PEM) to sign the manifest with")
    signing = commands.add_parser("sign", help=f"sign an export that is there: write {SIGNATURE_FILE}")
    signing.add_argument("--model", required=True, type=Path, metavar="DIR", help="folder of the export")
    signing.add_argument("--key", required=True, type=Path, metavar="FILE", help="private key (PEM) to sign with")
    making = commands.add_parser("keygen", help="make a private key for `sign` and print its public key")
    making.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write, which must not exist")
    return parser


def _list_recipes() -> int:
    for recipe in RECIPES.values():
        print(f"{recipe.name}  {recipe.summary}")
    return 0


def _export(options: argparse.Namespace) -> int:
    out: Path = options.out
    # Before the training: a key that cannot be read is told at once.
    key = read_key(options.key) if options.key else None
    done = export(RECIPES[options.recipe], options.version or options.recipe, out)
    print(f"{out / MODEL_FILE}: version {done.version}, {done.size_bytes:,} bytes, sha256 {done.sha256}")
    print(
        f"cross-validated accuracy {done.accuracy:.3f}; agrees with scikit-learn on {done.parity.points} points, "
        f"largest difference of a probability {done.parity.max_probability_difference:.1e}"
    )
    if done.packaging is not Packaging.WHOLE:
        print(f"note: this recipe's file is {done.packaging.value} on purpose and does not match its manifest")
    if key is not None:
        return _sign(out, key)
    # Of an earlier export into the same folder: it vouches for a manifest that is no more.
    (out / SIGNATURE_FILE).unlink(missing_ok=True)
    return 0


def _sign(folder: Path, key: Ed25519PrivateKey) -> int:
    signed = sign(folder, key)
    print(f"{folder / SIGNATURE_FILE}: of a manifest with sha256 {signed.manifest_sha256}, by {signed.public_key}")
    return 0


def _keygen(out: Path) -> int:
    public_key = create_key(out)
    print(f"{out} is the private key: whoever has it can sign models. Who serves them sets", file=sys.stderr)
    print(f"IRIS_MODEL_PUBLIC_KEYS={public_key}")
    return 0
