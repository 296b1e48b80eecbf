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
  2. the model is converted to ONNX and compared with scikit-learn, label by label
  3. {MODEL_FILE} and {MANIFEST_FILE} are written; the manifest contains the SHA-256 of the model,
     and the prediction service rejects a file that does not match it
  4. with --key, or later with `sign`, {SIGNATURE_FILE} is written: a service with IRIS_MODEL_PUBLIC_KEYS
     serves only models that one of those keys signed

Example:
  python -m iris_training export --recipe 2.0.0 --out model
  IRIS_MODEL_DIR=model python -m iris_inference

Signed:
  python -m iris_training keygen --out key.pem          # prints the public key; keep the file secret
  python -m iris_training export --recipe 2.0.0 --out model --key key.pem
  IRIS_MODEL_PUBLIC_KEYS=MCowBQYDK2VwAyEA... IRIS_MODEL_DIR=model python -m iris_inference
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns the exit code: 0 success, 1 failure with the reason, 2 wrong usage."""
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
    exporting.add_argument("--recipe", required=True, choices=sorted(RECIPES), help="which model to train")
    exporting.add_argument("--version", help="version to write into the manifest (default: the recipe's name)")
    exporting.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write, created if missing")
    exporting.add_argument("--key", type=Path, metavar="FILE", help="private key (PEM) to sign the manifest with")
    signing = commands.add_parser("sign", help=f"sign an existing export: write {SIGNATURE_FILE}")
    signing.add_argument("--model", required=True, type=Path, metavar="DIR", help="folder of the export")
    signing.add_argument("--key", required=True, type=Path, metavar="FILE", help="private key (PEM) to sign with")
    keygen = commands.add_parser("keygen", help="generate a private key for `sign` and print its public key")
    keygen.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write, which must not exist")
    return parser


def _list_recipes() -> int:
    for recipe in RECIPES.values():
        print(f"{recipe.name}  {recipe.summary}")
    return 0


def _export(options: argparse.Namespace) -> int:
    out: Path = options.out
    # Before the training, so that a key that cannot be read is reported at once.
    key = read_key(options.key) if options.key else None
    result = export(RECIPES[options.recipe], options.version or options.recipe, out)
    print(f"{out / MODEL_FILE}: version {result.version}, {result.size_bytes:,} bytes, sha256 {result.sha256}")
    print(
        f"cross-validated accuracy {result.accuracy:.3f}; agrees with scikit-learn on {result.parity.points} points, "
        f"largest difference of a probability {result.parity.max_probability_difference:.1e}"
    )
    if result.packaging is not Packaging.COMPLETE:
        print(f"note: this recipe's file is {result.packaging.value} on purpose and does not match its manifest")
    if key is not None:
        return _sign(out, key)
    # The signature of an earlier export into the same folder is not valid for the new manifest.
    (out / SIGNATURE_FILE).unlink(missing_ok=True)
    return 0


def _sign(folder: Path, key: Ed25519PrivateKey) -> int:
    signed = sign(folder, key)
    print(f"{folder / SIGNATURE_FILE}: signs manifest sha256 {signed.manifest_sha256} with {signed.public_key}")
    return 0


def _keygen(out: Path) -> int:
    public_key = create_key(out)
    print(f"{out} is the private key; anyone who has it can sign models. To trust it, set", file=sys.stderr)
    print(f"IRIS_MODEL_PUBLIC_KEYS={public_key}")
    return 0
