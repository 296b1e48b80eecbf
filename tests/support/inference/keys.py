"""API keys for tests, created as an administrator creates them."""

import contextlib
from datetime import timedelta

from iris_inference.auth.identity import Scope
from iris_inference.auth.key_store import KeyStore, NewKey
from iris_inference.auth.keys import ApiKey

UNLIMITED = 100_000


def new_key(
    postgres_url: str,
    *scopes: str,
    rate: float = UNLIMITED,
    burst: int = UNLIMITED,
    lifetime: timedelta | None = None,
    client: str = "shop",
) -> ApiKey:
    """Create a key of the client, with all scopes when none is named; creates missing tables."""
    with contextlib.closing(KeyStore(postgres_url)) as store:
        new = NewKey(client, scopes or tuple(scope.value for scope in Scope), rate, burst, lifetime)
        return store.create_key(new, create_client=True)[0]


def bearer(key: ApiKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.text}"}
