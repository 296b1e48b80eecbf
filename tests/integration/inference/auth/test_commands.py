"""The commands of `iris-inference`, on a real PostgreSQL."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from iris_inference.auth import keys
from iris_inference.storage import schema
from support.inference.database import select

_INFERENCE = Path(__file__).parents[4] / "inference"
_UNREACHABLE = "postgresql://iris:hunter2@127.0.0.1:1/iris"

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


def succeed(url: str, *arguments: str) -> str:
    ended = run(url, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def fail(url: str, code: int, *arguments: str, **variables: str) -> str:
    ended = run(url, *arguments, **variables)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr
    return ended.stderr


def test_a_key_is_created_shown_once_listed_and_revoked(postgres_url: str, engine: Engine) -> None:
    assert "keys create --client shop" in succeed(postgres_url, "clients", "create", "shop")
    output = succeed(
        postgres_url,
        *("keys", "create", "--client", "shop", "--scope", "predict", "--scope", "feedback"),
        *("--rate", "12.5", "--expires", "90d"),
    )
    text = output.split()[1]
    key = keys.parse(text)
    assert key is not None
    assert "12.5 requests/s over all pods, 25 at once" in output
    (row,) = select(engine, "SELECT *, expires_at - created_at = interval '90 days' AS lasts FROM api_keys")
    assert row.lasts
    assert keys.verify(key.secret, bytes(row.salt), bytes(row.digest))
    (listed,) = json.loads(succeed(postgres_url, "keys", "list", "--json"))
    assert (listed["key_id"], listed["client"], listed["scopes"]) == (key.key_id, "shop", "feedback,predict")
    assert key.secret not in succeed(postgres_url, "keys", "list")
    assert succeed(postgres_url, "clients", "list").split()[-1] == "1"

    assert "is revoked since" in succeed(postgres_url, "keys", "revoke", key.key_id)
    assert key.key_id not in succeed(postgres_url, "keys", "list")
    assert "revoked" in succeed(postgres_url, "keys", "list", "--all", "--client", "shop")
    assert succeed(postgres_url, "clients", "list").split()[-1] == "0"


def test_a_leaked_key_is_revoked_without_being_repeated(postgres_url: str) -> None:
    text = succeed(
        postgres_url, *["keys", "create", "--client", "shop", "--create-client", "--scope", "predict", "--quiet"]
    ).strip()
    output = succeed(postgres_url, "keys", "revoke", text)
    assert "is revoked since" in output
    assert text not in output


def test_scripts_get_the_key_and_nothing_else(postgres_url: str, tmp_path: Path) -> None:
    create = ["keys", "create", "--client", "shop", "--create-client", "--scope", "predict", "--quiet"]
    assert keys.parse(succeed(postgres_url, *create).removesuffix("\n")) is not None
    file = tmp_path / "key"
    output = succeed(postgres_url, *create, "--output-secret-file", str(file))
    key = keys.parse(file.read_text().removesuffix("\n"))
    assert key is not None
    assert output == f"{key.key_id}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_key_is_created_that_cannot_be_written_and_no_empty_file_is_left(
    postgres_url: str, engine: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    create = ("keys", "create", "--scope", "predict", "--output-secret-file", str(file))
    assert "there is no client shop" in fail(postgres_url, 1, *create, "--client", "shop")
    assert not file.exists()
    file.write_text("mine")
    assert "no key was made" in fail(postgres_url, 1, *create, "--client", "shop", "--create-client")
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
def test_missing_clients_and_keys_are_named_with_the_command_that_helps(
    postgres_url: str, arguments: tuple[str, ...], remedy: str
) -> None:
    assert remedy in fail(postgres_url, 1, *arguments)


def test_a_client_is_created_once(postgres_url: str) -> None:
    succeed(postgres_url, "clients", "create", "shop")
    assert "there is a client shop already" in fail(postgres_url, 1, "clients", "create", "shop")


def test_commands_wait_for_the_database_and_name_its_absence(postgres_url: str) -> None:
    waiting = ("clients", "list", "--wait-seconds", "0")
    assert "the database in DATABASE_URL is not available" in fail(_UNREACHABLE, 1, *waiting)
    missing = fail(postgres_url, 1, *waiting, IRIS_SCHEMA_MODE="wait")
    assert f"this release needs {schema.HEAD}" in missing
    assert "run python -m iris_inference.migrate" in missing
    assert succeed(postgres_url, "migrate", "--wait-seconds", "0")
    assert run(postgres_url, *waiting, IRIS_SCHEMA_MODE="wait").returncode == 0


def test_wrong_variables_and_arguments_are_named(postgres_url: str) -> None:
    assert "DATABASE_URL: " in fail("mysql://iris:hunter2@db/iris", 2, "clients", "list")
    assert "as in 12h, 90d or 52w" in fail(
        postgres_url, 2, "keys", "create", "--client", "shop", "--scope", "predict", "--expires", "soon"
    )
    assert "invalid choice: 'all'" in fail(postgres_url, 2, "keys", "create", "--client", "shop", "--scope", "all")
