"""`iris-inference`: serve predictions, and keep the clients and the API keys that may ask for them.

The commands about clients and keys work on the PostgreSQL in DATABASE_URL and make its tables when they are missing.
In a cluster they are easiest run in a pod that serves:

    kubectl -n iris exec deploy/NAME -- iris-inference keys create --client shop --create-client --scope predict

Exit codes: 0 done, 1 not done, with the reason on standard error, 2 wrong arguments or variables.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from iris_inference import commands, migrate
from iris_inference.auth.identity import Scope
from iris_inference.auth.keys import KEY_ID_PATTERN, parse

_RATE: Final = 50.0
_FASTEST: Final = 1_000_000
_CLIENT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def serve(_options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    # Imported here: half a second that the other commands need not wait for.
    from iris_inference import main as service  # noqa: PLC0415 - see above

    return service.main()


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    made = argparse.ArgumentParser(
        prog="iris-inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups = made.add_subparsers(required=True, metavar="COMMAND")
    serving = groups.add_parser("serve", help="serve predictions until SIGTERM, as python -m iris_inference does")
    serving.set_defaults(run=serve)
    migrating = groups.add_parser("migrate", help="bring the tables to this release", description=migrate.__doc__)
    migrate.add_arguments(migrating)
    migrating.set_defaults(run=migrate.execute)
    _add_clients(groups)
    _add_keys(groups)
    return made


def _add_clients(groups: Any) -> None:
    clients = groups.add_parser("clients", help="who may have keys").add_subparsers(required=True, metavar="COMMAND")
    create = _command(clients, "create", commands.create_client, "add a client")
    create.add_argument("name", type=_client, help="lower case letters, digits, dots, dashes and underscores")
    listing = _command(clients, "list", commands.list_clients, "list the clients")
    listing.add_argument("--json", action="store_true", help="for programs")


def _add_keys(groups: Any) -> None:
    keys = groups.add_parser("keys", help="make, list and revoke keys").add_subparsers(required=True, metavar="COMMAND")
    create = _command(
        keys,
        "create",
        commands.create_key,
        "make a key for a client and show it, once",
        epilog="example: iris-inference keys create --client shop --create-client --scope predict --expires 90d",
    )
    create.add_argument("--client", type=_client, required=True, metavar="NAME", help="whose key it is")
    create.add_argument("--create-client", action="store_true", help="make the client when it is not there yet")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=[scope.value for scope in Scope],
        help="what it is good for; may be repeated",
    )
    create.add_argument(
        "--rate", type=_rate, default=_RATE, metavar="N", help=f"requests/s over all pods (default: {_RATE:g})"
    )
    create.add_argument("--burst", type=_burst, metavar="N", help="requests at once (default: twice the rate)")
    create.add_argument("--expires", type=_span, metavar="SPAN", help="as 12h, 90d or 52w from now (default: never)")
    create.add_argument("--quiet", action="store_true", help="print the key and nothing else, for scripts")
    create.add_argument(
        "--output-secret-file",
        type=Path,
        metavar="FILE",
        help="write the key to a new file instead, for its owner only",
    )
    listing = _command(keys, "list", commands.list_keys, "list the good keys")
    listing.add_argument("--client", type=_client, metavar="NAME", help="only those of one client")
    listing.add_argument("--all", action="store_true", help="those that were revoked or have expired as well")
    listing.add_argument("--json", action="store_true", help="for programs")
    revoke = _command(keys, "revoke", commands.revoke_key, "end a key for good")
    revoke.add_argument("key_id", type=_key_id, metavar="KEY_ID", help="as in keys list; the whole key will do as well")


def _command(
    group: Any, name: str, action: commands.Action, told: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = group.add_parser(name, help=told, description=told, epilog=epilog)
    made.set_defaults(run=commands.on_keys(action))
    made.add_argument(
        "--wait-seconds",
        type=float,
        default=15,
        metavar="S",
        help="how long to wait for the database, and with IRIS_SCHEMA_MODE=wait for its tables (default: 15)",
    )
    return made


def _client(argument: str) -> str:
    if not _CLIENT.fullmatch(argument):
        raise argparse.ArgumentTypeError("must be 1 to 63 lower case letters, digits, dots, dashes or underscores")
    return argument


def _rate(argument: str) -> float:
    rate = float(argument)
    if not 0 < rate <= _FASTEST:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {_FASTEST} requests/s")
    return rate


def _burst(argument: str) -> int:
    burst = int(argument)
    if not 1 <= burst <= _FASTEST:
        raise argparse.ArgumentTypeError(f"must be between 1 and {_FASTEST} requests")
    return burst


def _span(argument: str) -> timedelta:
    found = _SPAN.fullmatch(argument)
    if not found:
        raise argparse.ArgumentTypeError("must be a number with h, d or w, as in 12h, 90d or 52w")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _key_id(argument: str) -> str:
    # Whoever finds a key in a place where it should not be has the whole of it at hand. It is never repeated.
    key = parse(argument)
    if key is not None:
        return key.key_id
    if not re.fullmatch(KEY_ID_PATTERN, argument):
        raise argparse.ArgumentTypeError("must be 12 hexadecimal digits, as in keys list")
    return argument


if __name__ == "__main__":
    sys.exit(main())
