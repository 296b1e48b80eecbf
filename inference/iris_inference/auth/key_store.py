"""Clients and their keys in PostgreSQL. Blocking: use it in threads and commands, never in the event loop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from iris_inference.auth import keys
from iris_inference.auth.authenticator import KeysUnavailableError, StoredKey
from iris_inference.auth.keys import ApiKey
from iris_inference.storage import schema
from iris_inference.storage.postgres import connect, describe_error
from iris_inference.storage.schema import SchemaMode, TablesMissingError

# Keys that were revoked or expired longer ago than this are not loaded, and are unknown to the service.
_LOAD: Final = text("""
    SELECT key_id, clients.name AS client, salt, digest, scopes, rate_per_second, burst,
           revoked_at IS NOT NULL AS revoked,
           extract(epoch FROM expires_at - now())::double precision AS expires_in
    FROM api_keys JOIN clients ON clients.id = client_id
    WHERE coalesce(revoked_at > now() - interval '30 days', true)
      AND coalesce(expires_at > now() - interval '30 days', true)
""")
_RECORD_USE: Final = text("""
    UPDATE api_keys SET last_used_on = current_date
    WHERE key_id = ANY(:key_ids) AND last_used_on IS DISTINCT FROM current_date
""")
_CREATE_CLIENT: Final = text("INSERT INTO clients (name) VALUES (:name)")
_ENSURE_CLIENT: Final = text("INSERT INTO clients (name) VALUES (:name) ON CONFLICT DO NOTHING")
_CLIENTS: Final = text("""
    SELECT clients.name, clients.created_at,
           count(key_id) FILTER (WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) AS keys
    FROM clients LEFT JOIN api_keys ON client_id = clients.id GROUP BY clients.id ORDER BY clients.name
""")
_CREATE_KEY: Final = text("""
    INSERT INTO api_keys (key_id, client_id, salt, digest, scopes, rate_per_second, burst, expires_at)
    SELECT :key_id, id, :salt, :digest, :scopes, :rate, :burst, now() + CAST(:lasts AS interval)
    FROM clients WHERE name = :client RETURNING expires_at
""")
_KEYS: Final = text("""
    SELECT key_id, clients.name AS client, scopes, rate_per_second, burst, api_keys.created_at, expires_at, revoked_at,
           last_used_on, CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired'
                              ELSE 'good' END AS state
    FROM api_keys JOIN clients ON clients.id = client_id
    WHERE (CAST(:client AS text) IS NULL OR clients.name = :client)
    ORDER BY clients.name, api_keys.created_at
""")
_REVOKE: Final = text("""
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = :key_id RETURNING revoked_at
""")


class UnknownClientError(Exception):
    """There is no client of that name."""


class ClientExistsError(Exception):
    """There is a client of that name already."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """The properties of a key to create. `lifetime` None: it never expires."""

    client: str
    scopes: tuple[str, ...]
    rate: float
    burst: int
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ListedClient:
    """One client, and its number of valid keys."""

    name: str
    created_at: datetime
    keys: int


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key without its secret. `state` is good, expired or revoked."""

    key_id: str
    client: str
    scopes: tuple[str, ...]
    rate: float
    burst: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_on: date | None
    state: str


class KeyStore:
    """The two tables of one database. The first call migrates the schema, or in the mode `wait` only checks it.

    Every method raises KeysUnavailableError when the database is not available.
    """

    def __init__(self, url: str, mode: SchemaMode = "migrate") -> None:
        self._engine = connect(url, pool_size=1)
        self._mode = mode
        self._tables_ready = False

    def load(self) -> list[StoredKey]:
        """Every key that is valid or was until recently."""
        with self._transaction() as connection:
            return [
                StoredKey(
                    key_id=row.key_id,
                    client=row.client,
                    salt=bytes(row.salt),
                    digest=bytes(row.digest),
                    scopes=frozenset(row.scopes),
                    rate=row.rate_per_second,
                    burst=row.burst,
                    expires_in=row.expires_in,
                    revoked=row.revoked,
                )
                for row in connection.execute(_LOAD)
            ]

    def record_use(self, key_ids: Sequence[str]) -> None:
        """Record that these keys were used today."""
        with self._transaction() as connection:
            connection.execute(_RECORD_USE, {"key_ids": list(key_ids)})

    def create_client(self, name: str) -> None:
        """Add a client. Raises ClientExistsError."""
        try:
            with self._transaction() as connection:
                connection.execute(_CREATE_CLIENT, {"name": name})
        except IntegrityError:
            raise ClientExistsError(name) from None

    def list_clients(self) -> list[ListedClient]:
        """All clients by name."""
        with self._transaction() as connection:
            return [ListedClient(*row) for row in connection.execute(_CLIENTS)]

    def create_key(self, new_key: NewKey, *, create_client: bool = False) -> tuple[ApiKey, datetime | None]:
        """Create a key and return it with its expiry. Only now is its secret known. Raises UnknownClientError."""
        key = keys.generate()
        salt = keys.new_salt()
        row = {
            "key_id": key.key_id,
            "salt": salt,
            "digest": keys.digest(salt, key.secret),
            "client": new_key.client,
            "scopes": list(new_key.scopes),
            "rate": new_key.rate,
            "burst": new_key.burst,
            "lasts": new_key.lifetime,
        }
        with self._transaction() as connection:
            if create_client:
                connection.execute(_ENSURE_CLIENT, {"name": new_key.client})
            created = connection.execute(_CREATE_KEY, row).one_or_none()
        if created is None:
            raise UnknownClientError(new_key.client)
        return key, created.expires_at

    def list_keys(self, client: str | None = None) -> list[ListedKey]:
        """All keys, or those of one client. Raises UnknownClientError."""
        with self._transaction() as connection:
            rows = connection.execute(_KEYS, {"client": client}).all()
            if client is not None and not rows and client not in {row.name for row in connection.execute(_CLIENTS)}:
                raise UnknownClientError(client)
        return [ListedKey(row[0], row[1], tuple(row[2]), *row[3:]) for row in rows]

    def revoke(self, key_id: str) -> datetime | None:
        """Revoke a key; return when it was first revoked, or None when there is no such key."""
        with self._transaction() as connection:
            revoked: datetime | None = connection.execute(_REVOKE, {"key_id": key_id}).scalar_one_or_none()
            return revoked

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            if not self._tables_ready:
                schema.ensure(self._engine, self._mode)
                self._tables_ready = True
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except (SQLAlchemyError, TablesMissingError) as error:
            # The next call checks the tables again: the database may be a new, empty one.
            self._tables_ready = False
            raise KeysUnavailableError(
                describe_error(error) if isinstance(error, SQLAlchemyError) else str(error)
            ) from None
