"""The commands of `iris-inference` that manage clients and API keys."""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from iris_inference.auth.authenticator import KeysUnavailableError
from iris_inference.auth.key_store import ClientExistsError, KeyStore, NewKey, UnknownClientError
from iris_inference.settings import DatabaseSettings, SettingsError, read_settings

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_RETRY_SECONDS: Final = 1.0

Action = Callable[[KeyStore, argparse.Namespace], None]


class CommandError(Exception):
    """The command failed; the message has the reason and the remedy."""


def with_key_store(action: Action) -> Callable[[argparse.Namespace], int]:
    """Run `action` with a KeyStore; while the database is unavailable, retry for up to `--wait-seconds`."""

    def run(options: argparse.Namespace) -> int:
        try:
            settings = read_settings(DatabaseSettings)
        except SettingsError as error:
            return _fail(str(error), EXIT_USAGE)
        if settings.database_url is None:
            return _fail("DATABASE_URL: is required: it names the PostgreSQL that has the clients and keys", EXIT_USAGE)
        with contextlib.closing(KeyStore(settings.database_url.get_secret_value(), settings.schema_mode)) as store:
            deadline = time.monotonic() + options.wait_seconds
            while True:
                try:
                    action(store, options)
                except KeysUnavailableError as error:
                    if time.monotonic() >= deadline:
                        return _fail(f"the database in DATABASE_URL is not available: {error}", EXIT_FAILED)
                    time.sleep(_RETRY_SECONDS)
                except CommandError as error:
                    return _fail(str(error), EXIT_FAILED)
                else:
                    return EXIT_OK

    return run


def create_client(store: KeyStore, options: argparse.Namespace) -> None:
    """`clients create`."""
    try:
        store.create_client(options.name)
    except ClientExistsError:
        raise CommandError(f"there is a client {options.name} already; keys create makes another key for it") from None
    print(f"client {options.name} was created; make a key with: iris-inference keys create --client {options.name}")


def list_clients(store: KeyStore, options: argparse.Namespace) -> None:
    """`clients list`."""
    rows = [(client.name, client.created_at, client.keys) for client in store.list_clients()]
    _print_rows(("client", "created", "good keys"), rows, as_json=options.json)


def create_key(store: KeyStore, options: argparse.Namespace) -> None:
    """`keys create`."""
    burst = options.burst or max(1, round(options.rate * 2))
    new_key = NewKey(options.client, tuple(sorted(set(options.scope))), options.rate, burst, options.expires)
    with _secret_file(options.output_secret_file) as write:
        try:
            key, expires = store.create_key(new_key, create_client=options.create_client)
        except UnknownClientError:
            raise CommandError(
                f"there is no client {options.client}; create it with: iris-inference clients create {options.client}, "
                "or add --create-client"
            ) from None
        write(key.text)
    shown = key.key_id if options.output_secret_file else key.text
    if options.quiet:
        print(shown)
        return
    print(f"key      {options.output_secret_file or key.text}")
    print(f"key id   {key.key_id}")
    print(f"client   {new_key.client}")
    print(f"scopes   {', '.join(new_key.scopes)}")
    print(f"rate     {new_key.rate:g} requests/s over all pods, {burst} at once")
    print(f"expires  {_format(expires) if expires else 'never'}")
    print("The key is shown only this once; send it as: Authorization: Bearer <key>")


def list_keys(store: KeyStore, options: argparse.Namespace) -> None:
    """`keys list`."""
    try:
        listed = store.list_keys(options.client)
    except UnknownClientError:
        raise CommandError(f"there is no client {options.client}; iris-inference clients list shows all") from None
    heading = ("key id", "client", "scopes", "rate", "burst", "created", "expires", "last used", "state")
    rows = [
        (
            *(key.key_id, key.client, ",".join(key.scopes), key.rate, key.burst),
            *(key.created_at, key.expires_at, key.last_used_on, key.state),
        )
        for key in listed
        if options.all or key.state == "good"
    ]
    _print_rows(heading, rows, as_json=options.json)


def revoke_key(store: KeyStore, options: argparse.Namespace) -> None:
    """`keys revoke`."""
    key_id: str = options.key_id
    revoked = store.revoke(key_id)
    if revoked is None:
        raise CommandError(f"there is no key {key_id}; iris-inference keys list --all shows all")
    print(f"key {key_id} is revoked since {_format(revoked)}; each pod refuses it IRIS_AUTH_REFRESH_SECONDS later (10)")


@contextlib.contextmanager
def _secret_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Create the file before the key: a key that could not be written would be lost."""
    if path is None:
        yield lambda _secret: None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandError(f"{path} cannot be created: {error.strerror}; no key was made") from None
    try:
        with os.fdopen(descriptor, "w") as file:
            yield lambda secret: print(secret, file=file)
    except BaseException:
        path.unlink()
        raise


def _print_rows(heading: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    if as_json:
        names = [name.replace(" ", "_") for name in heading]
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=_iso, indent=2))
        return
    cells = [heading, *(tuple(map(_format, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _format(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M %Z}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _iso(value: date) -> str:
    return value.isoformat()


def _fail(message: str, code: int) -> int:
    for line in message.splitlines():
        print(f"iris-inference: {line}", file=sys.stderr)
    return code
