"""`iris-inference`: serve predictions, migrate the database, and manage clients and their API keys.

The commands for clients and keys use the PostgreSQL at DATABASE_URL and create its tables when they are missing.
In a cluster, run them in a pod of the service:

    kubectl -n iris exec deploy/NAME -- iris-inference keys create --client shop --create-client --scope predict

Exit codes: 0 done, 1 failed, with the reason on standard error, 2 wrong arguments or variables.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from iris_inference.auth import commands
from iris_inference.auth.identity import Scope
from iris_inference.auth.keys import KEY_ID_PATTERN, parse
from iris_inference.storage import migrate

_DEFAULT_RATE: Final = 50.0
_MAX_RATE: Final = 1_000_000
_CLIENT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def serve(_options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    # Imported here, because it takes half a second that the other commands need not wait for.
    from iris_inference import main as service  # noqa: PLC0415 - see above

    return service.main()


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    root = argparse.ArgumentParser(
        prog="iris-inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups = root.add_subparsers(required=True, metavar="COMMAND")
    serving = groups.add_parser("serve", help="serve predictions until SIGTERM, as python -m iris_inference does")
    serving.set_defaults(run=serve)
    migrating = groups.add_parser("migrate", help="migrate the tables to this release", description=migrate.__doc__)
    migrate.add_arguments(migrating)
    migrating.set_defaults(run=migrate.execute)
    _add_clients(groups)
    _add_keys(groups)
    return root


def _add_clients(groups: Any) -> None:
    clients = groups.add_parser("clients", help="add and list clients").add_subparsers(required=True, metavar="COMMAND")
    create = _command(clients, "create", commands.create_client, "add a client")
    create.add_argument("name", type=_client, help="lower case letters, digits, dots, dashes and underscores")
    listing = _command(clients, "list", commands.list_clients, "list the clients")
    listing.add_argument("--json", action="store_true", help="print JSON")


def _add_keys(groups: Any) -> None:
    keys = groups.add_parser("keys", help="create, list and revoke keys").add_subparsers(
        required=True, metavar="COMMAND"
    )
    create = _command(
        keys,
        "create",
        commands.create_key,
        "create a key for a client and show it once",
        epilog="example: iris-inference keys create --client shop --create-client --scope predict --expires 90d",
    )
    create.add_argument("--client", type=_client, required=True, metavar="NAME", help="owner of the key")
    create.add_argument("--create-client", action="store_true", help="create the client when it does not exist")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=[scope.value for scope in Scope],
        help="scope of the key; may be repeated",
    )
    create.add_argument(
        "--rate",
        type=_rate,
        default=_DEFAULT_RATE,
        metavar="N",
        help=f"requests/s over all pods (default: {_DEFAULT_RATE:g})",
    )
    create.add_argument("--burst", type=_burst, metavar="N", help="requests at once (default: twice the rate)")
    create.add_argument(
        "--expires", type=_duration, metavar="DURATION", help="as 12h, 90d or 52w from now (default: never)"
    )
    create.add_argument("--quiet", action="store_true", help="print only the key, for scripts")
    create.add_argument(
        "--output-secret-file",
        type=Path,
        metavar="FILE",
        help="write the key to a new file that only its owner can read",
    )
    listing = _command(keys, "list", commands.list_keys, "list the valid keys")
    listing.add_argument("--client", type=_client, metavar="NAME", help="only those of one client")
    listing.add_argument("--all", action="store_true", help="revoked and expired keys as well")
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = _command(keys, "revoke", commands.revoke_key, "revoke a key for good")
    revoke.add_argument(
        "key_id", type=_key_id, metavar="KEY_ID", help="as in keys list; the complete key is accepted as well"
    )


def _command(
    group: Any, name: str, action: commands.Action, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = group.add_parser(name, help=description, description=description, epilog=epilog)
    command.set_defaults(run=commands.with_key_store(action))
    command.add_argument(
        "--wait-seconds",
        type=float,
        default=15,
        metavar="S",
        help="how long to wait for the database, and with IRIS_SCHEMA_MODE=wait for its tables (default: 15)",
    )
    return command


def _client(argument: str) -> str:
    if not _CLIENT_NAME.fullmatch(argument):
        raise argparse.ArgumentTypeError("must be 1 to 63 lower case letters, digits, dots, dashes or underscores")
    return argument


def _rate(argument: str) -> float:
    rate = float(argument)
    if not 0 < rate <= _MAX_RATE:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {_MAX_RATE} requests/s")
    return rate


def _burst(argument: str) -> int:
    burst = int(argument)
    if not 1 <= burst <= _MAX_RATE:
        raise argparse.ArgumentTypeError(f"must be between 1 and {_MAX_RATE} requests")
    return burst


def _duration(argument: str) -> timedelta:
    match = _DURATION.fullmatch(argument)
    if not match:
        raise argparse.ArgumentTypeError("must be a number with h, d or w, as in 12h, 90d or 52w")
    return timedelta(hours=int(match[1]) * _HOURS[match[2]])


def _key_id(argument: str) -> str:
    # Somebody who finds a leaked key has the complete key, not its id. The key is never printed.
    key = parse(argument)
    if key is not None:
        return key.key_id
    if not re.fullmatch(KEY_ID_PATTERN, argument):
        raise argparse.ArgumentTypeError("must be 12 hexadecimal digits, as in keys list")
    return argument


if __name__ == "__main__":
    sys.exit(main())
