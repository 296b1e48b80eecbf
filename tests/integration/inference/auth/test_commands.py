"""`iris-inference` as people and scripts use it, on a real PostgreSQL."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from integration.inference.database import select
from iris_inference import schema
from iris_inference.auth import keys

_INFERENCE = Path(__file__).parents[3] / "inference"
_NOBODY = "postgresql://iris:hunter2@127.0.0.1:1/iris"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def run(url: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The image's own executable, with the tests' Python behind the name `python`."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(_INFERENCE),
        "PYTHONWARNINGS": "error",
        "DATABASE_URL": url,
        **variables,
    }
    return subprocess.run(
        [_INFERENCE / "bin" / "iris-inference", *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def done(url: str, *arguments: str) -> str:
    ended = run(url, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def refused(url: str, code: int, *arguments: str, **variables: str) -> str:
    ended = run(url, *arguments, **variables)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr
    return ended.stderr


def test_a_key_is_made_shown_once_listed_and_revoked(postgres_url: str, engine: Engine) -> None:
    assert "keys create --client shop" in done(postgres_url, "clients", "create", "shop")
    told = done(
        postgres_url,
        *("keys", "create", "--client", "shop", "--scope", "predict", "--scope", "feedback"),
        *("--rate", "12.5", "--expires", "90d"),
    )
    text = told.split()[1]
    key = keys.parse(text)
    assert key is not None
    assert "12.5 requests/s over all pods, 25 at once" in told
    (row,) = select(engine, "SELECT *, expires_at - created_at = interval '90 days' AS lasts FROM api_keys")
    assert row.lasts
    assert keys.belongs(key.secret, bytes(row.salt), bytes(row.digest))
    (listed,) = json.loads(done(postgres_url, "keys", "list", "--json"))
    assert (listed["key_id"], listed["client"], listed["scopes"]) == (key.key_id, "shop", "feedback,predict")
    assert key.secret not in done(postgres_url, "keys", "list")
    assert done(postgres_url, "clients", "list").split()[-1] == "1"

    assert "is revoked since" in done(postgres_url, "keys", "revoke", key.key_id)
    assert key.key_id not in done(postgres_url, "keys", "list")
    assert "revoked" in done(postgres_url, "keys", "list", "--all", "--client", "shop")
    assert done(postgres_url, "clients", "list").split()[-1] == "0"


def test_a_key_that_was_found_somewhere_is_revoked_without_being_repeated(postgres_url: str) -> None:
    text = done(
        postgres_url, *["keys", "create", "--client", "shop", "--create-client", "--scope", "predict", "--quiet"]
    ).strip()
    told = done(postgres_url, "keys", "revoke", text)
    assert "is revoked since" in told
    assert text not in told


def test_scripts_get_the_key_and_nothing_else(postgres_url: str, tmp_path: Path) -> None:
    create = ["keys", "create", "--client", "shop", "--create-client", "--scope", "predict", "--quiet"]
    assert keys.parse(done(postgres_url, *create).removesuffix("\n")) is not None
    file = tmp_path / "key"
    told = done(postgres_url, *create, "--output-secret-file", str(file))
    key = keys.parse(file.read_text().removesuffix("\n"))
    assert key is not None
    assert told == f"{key.key_id}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_key_is_made_that_cannot_be_written_and_no_file_is_left_without_one(
    postgres_url: str, engine: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    create = ("keys", "create", "--scope", "predict", "--output-secret-file", str(file))
    assert "there is no client shop" in refused(postgres_url, 1, *create, "--client", "shop")
    assert not file.exists()
    file.write_text("mine")
    assert "no key was made" in refused(postgres_url, 1, *create, "--client", "shop", "--create-client")
    assert file.read_text() == "mine"
    assert select(engine, "SELECT count(*) FROM api_keys") == [(0,)]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("keys", "create", "--client", "shop", "--scope", "predict"), "iris-inference clients create shop"),
        (("keys", "list", "--client", "shop"), "iris-inference clients list"),
        (("keys", "revoke", "0123456789ab"), "iris-inference keys list --all"),
    ],
)
def test_what_is_not_there_is_named_with_the_command_that_helps(
    postgres_url: str, arguments: tuple[str, ...], remedy: str
) -> None:
    assert remedy in refused(postgres_url, 1, *arguments)


def test_a_client_is_made_once(postgres_url: str) -> None:
    done(postgres_url, "clients", "create", "shop")
    assert "there is a client shop already" in refused(postgres_url, 1, "clients", "create", "shop")


def test_the_database_is_waited_for_and_its_absence_named(postgres_url: str) -> None:
    waiting = ("clients", "list", "--wait-seconds", "0")
    assert "the database in DATABASE_URL does not let it" in refused(_NOBODY, 1, *waiting)
    missing = refused(postgres_url, 1, *waiting, IRIS_SCHEMA_MODE="wait")
    assert f"this release needs {schema.HEAD}" in missing
    assert "run python -m iris_inference.migrate" in missing
    assert done(postgres_url, "migrate", "--wait-seconds", "0")
    assert run(postgres_url, *waiting, IRIS_SCHEMA_MODE="wait").returncode == 0


def test_wrong_variables_and_arguments_are_named(postgres_url: str) -> None:
    assert "DATABASE_URL: " in refused("mysql://iris:hunter2@db/iris", 2, "clients", "list")
    assert "as in 12h, 90d or 52w" in refused(
        postgres_url, 2, "keys", "create", "--client", "shop", "--scope", "predict", "--expires", "soon"
    )
    assert "invalid choice: 'all'" in refused(postgres_url, 2, "keys", "create", "--client", "shop", "--scope", "all")
