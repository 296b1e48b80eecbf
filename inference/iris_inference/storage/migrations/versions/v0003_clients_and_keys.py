"""Clients and their API keys, of which only salted hashes are stored."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the two tables. The release before this one ignores them."""
    op.execute("""
        CREATE TABLE clients (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL UNIQUE,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE api_keys (
            key_id text PRIMARY KEY,
            client_id bigint NOT NULL REFERENCES clients (id),
            salt bytea NOT NULL,
            digest bytea NOT NULL,
            scopes text[] NOT NULL,
            rate_per_second double precision NOT NULL CHECK (rate_per_second > 0),
            burst integer NOT NULL CHECK (burst > 0),
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            revoked_at timestamptz,
            last_used_on date
        )
    """)
    op.execute("CREATE INDEX api_keys_client_id ON api_keys (client_id)")
