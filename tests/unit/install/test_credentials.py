import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from iris_install import credentials
from iris_install.errors import InstallError


class Cluster:
    """Secrets as an API server keeps them, with what was ever created in order."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}

    def get_or_none(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        assert (kind, namespace) == ("secret", "iris")
        return self.secrets.get(name)

    def create(self, manifest: Mapping[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        assert name not in self.secrets, f"{name} exists"
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in manifest["stringData"].items()}
        self.secrets[name] = {"metadata": manifest["metadata"], "data": encoded}

    def values(self, name: str) -> dict[str, str]:
        return {key: base64.b64decode(value).decode() for key, value in self.secrets[name]["data"].items()}


def test_the_first_installation_creates_all_three() -> None:
    cluster = Cluster()

    outcome = credentials.ensure(cluster)

    assert outcome == dict.fromkeys(("postgres-credentials", "redis-credentials", "iris-inference"), "created")
    assert {name: tuple(cluster.values(name)) for name in cluster.secrets} == credentials.SECRET_KEYS


def test_installing_again_changes_nothing() -> None:
    cluster = Cluster()
    credentials.ensure(cluster)
    before = json.dumps(cluster.secrets)

    outcome = credentials.ensure(cluster)

    assert set(outcome.values()) == {"kept"}
    assert json.dumps(cluster.secrets) == before


def test_two_installations_have_different_passwords() -> None:
    one, other = Cluster(), Cluster()
    credentials.ensure(one)
    credentials.ensure(other)

    for name, key in (("postgres-credentials", "POSTGRES_PASSWORD"), ("redis-credentials", "REDIS_PASSWORD")):
        assert one.values(name)[key] != other.values(name)[key]
        assert len(one.values(name)[key]) >= 40


def test_the_service_gets_the_passwords_of_the_stores() -> None:
    cluster = Cluster()
    credentials.ensure(cluster)

    postgres, redis = cluster.values("postgres-credentials"), cluster.values("redis-credentials")
    assert cluster.values("iris-inference") == {
        "DATABASE_URL": f"postgresql+psycopg2://iris:{postgres['POSTGRES_PASSWORD']}@postgres.iris.svc:5432/iris",
        "REDIS_URL": f"redis://:{redis['REDIS_PASSWORD']}@redis.iris.svc:6379/0",
    }


@pytest.mark.parametrize("survivors", [["postgres-credentials"], ["postgres-credentials", "redis-credentials"]])
def test_an_interrupted_installation_is_finished(survivors: list[str]) -> None:
    cluster = Cluster()
    credentials.ensure(cluster)
    cluster.secrets = {name: cluster.secrets[name] for name in survivors}
    password = cluster.values("postgres-credentials")["POSTGRES_PASSWORD"]

    credentials.ensure(cluster)

    assert password in cluster.values("iris-inference")["DATABASE_URL"]


def test_a_password_is_escaped_in_a_url() -> None:
    cluster = Cluster()
    cluster.create(
        {
            "metadata": {"name": "postgres-credentials"},
            "stringData": {"POSTGRES_USER": "iris", "POSTGRES_PASSWORD": "p@ss/w:rd", "POSTGRES_DB": "iris"},
        }
    )

    credentials.ensure(cluster)

    assert "iris:p%40ss%2Fw%3Ard@postgres" in cluster.values("iris-inference")["DATABASE_URL"]


def test_a_secret_that_lacks_a_key_is_an_error_and_is_not_changed() -> None:
    cluster = Cluster()
    credentials.ensure(cluster)
    del cluster.secrets["postgres-credentials"]["data"]["POSTGRES_DB"]

    with pytest.raises(InstallError, match="iris/postgres-credentials exists but lacks POSTGRES_DB"):
        credentials.ensure(cluster)


def test_a_service_secret_without_its_stores_secret_is_an_error() -> None:
    cluster = Cluster()
    credentials.ensure(cluster)
    del cluster.secrets["redis-credentials"]

    with pytest.raises(InstallError, match="holds a password of redis-credentials"):
        credentials.ensure(cluster)
    assert "redis-credentials" not in cluster.secrets
