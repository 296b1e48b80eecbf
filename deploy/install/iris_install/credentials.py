"""The Secrets that the stores and the prediction service share. They are created once and never changed.

A password that is replaced while PostgreSQL keeps the old one locks the service out, so rotation is a deliberate step
and not a side effect of installing again.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from iris_install.errors import InstallError

NAMESPACE = "iris"
POSTGRES = "postgres-credentials"
REDIS = "redis-credentials"
INFERENCE = "iris-inference"
SECRET_KEYS: Mapping[str, tuple[str, ...]] = {
    POSTGRES: ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"),
    REDIS: ("REDIS_PASSWORD",),
    INFERENCE: ("DATABASE_URL", "REDIS_URL"),
}
_PASSWORD_BYTES = 32


class SecretStore(Protocol):
    """The part of kubectl that is needed here."""

    def get_or_none(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One object, or None."""

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Creates one object and fails when it exists."""


def ensure(cluster: SecretStore) -> dict[str, str]:
    """Creates the missing Secrets. Returns "created" or "kept" by name, and never a value.

    Raises InstallError when an existing Secret lacks a key, or when the service's Secret was created for store
    passwords that no longer exist: both need a person's decision.
    """
    found = {name: cluster.get_or_none("secret", name, NAMESPACE) for name in SECRET_KEYS}
    for name, existing in found.items():
        if existing is not None:
            _require_complete(name, existing)
    _require_stores_of_the_service(found)

    outcome = {}
    # The stores first: the service's URLs contain their passwords, including those that an interrupted run created.
    for name in (POSTGRES, REDIS):
        if found[name] is None:
            cluster.create(_manifest(name, _store_values(name)))
        outcome[name] = "kept" if found[name] else "created"
    if found[INFERENCE] is None:
        stores = {name: _read_secret(cluster, name) for name in (POSTGRES, REDIS)}
        cluster.create(_manifest(INFERENCE, _service_values(stores[POSTGRES], stores[REDIS])))
    outcome[INFERENCE] = "kept" if found[INFERENCE] else "created"
    return outcome


def _store_values(name: str) -> dict[str, str]:
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    if name == REDIS:
        return {"REDIS_PASSWORD": password}
    return {"POSTGRES_USER": "iris", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "iris"}


def _service_values(postgres: Mapping[str, str], redis: Mapping[str, str]) -> dict[str, str]:
    user, database = quote(postgres["POSTGRES_USER"], safe=""), quote(postgres["POSTGRES_DB"], safe="")
    password = quote(postgres["POSTGRES_PASSWORD"], safe="")
    return {
        "DATABASE_URL": f"postgresql+psycopg2://{user}:{password}@postgres.{NAMESPACE}.svc:5432/{database}",
        "REDIS_URL": f"redis://:{quote(redis['REDIS_PASSWORD'], safe='')}@redis.{NAMESPACE}.svc:6379/0",
    }


def _manifest(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "iris-release"}},
        "type": "Opaque",
        "stringData": dict(values),
    }


def _read_secret(cluster: SecretStore, name: str) -> dict[str, str]:
    existing = cluster.get_or_none("secret", name, NAMESPACE)
    if existing is None:
        raise InstallError(f"Secret {NAMESPACE}/{name} disappeared while it was needed; run this again.")
    return {key: base64.b64decode(existing["data"][key]).decode() for key in SECRET_KEYS[name]}


def _require_complete(name: str, existing: Mapping[str, Any]) -> None:
    missing = [key for key in SECRET_KEYS[name] if key not in existing.get("data", {})]
    if missing:
        raise InstallError(
            f"Secret {NAMESPACE}/{name} exists but lacks {', '.join(missing)}. "
            "Add what is missing, or delete the Secret to have it created again."
        )


def _require_stores_of_the_service(found: Mapping[str, Any]) -> None:
    gone = [name for name in (POSTGRES, REDIS) if found[name] is None]
    if found[INFERENCE] is not None and gone:
        raise InstallError(
            f"Secret {NAMESPACE}/{INFERENCE} holds a password of {', '.join(gone)}, which does not exist. "
            f"Restore it, or delete {INFERENCE} too to have all of them created again."
        )
