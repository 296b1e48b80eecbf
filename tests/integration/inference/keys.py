"""Keys for the tests of the service, made as whoever runs it makes them."""

import contextlib
from datetime import timedelta

from iris_inference.auth.identity import Scope
from iris_inference.auth.key_store import KeyStore, NewKey
from iris_inference.auth.keys import ApiKey

PLENTY = 100_000


def new_key(
    postgres_url: str,
    *scopes: str,
    rate: float = PLENTY,
    burst: int = PLENTY,
    lasts: timedelta | None = None,
    client: str = "shop",
) -> ApiKey:
    """A key of the client, for everything when no scope is named, in a database whose tables are made if need be."""
    with contextlib.closing(KeyStore(postgres_url)) as store:
        wanted = NewKey(client, scopes or tuple(scope.value for scope in Scope), rate, burst, lasts)
        return store.create_key(wanted, create_client=True)[0]


def bearer(key: ApiKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.text}"}
