"""The tables of predictions and feedback, as the service created them before there were migrations."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables, unless an earlier release did."""
    op.execute("""
        CREATE TABLE IF NOT EXISTS predictions (
            request_id text NOT NULL,
            instance smallint NOT NULL,
            predicted_at timestamptz NOT NULL,
            model_name text NOT NULL,
            model_version text NOT NULL,
            model_digest text NOT NULL,
            revision text NOT NULL,
            features double precision[] NOT NULL,
            label text NOT NULL,
            probabilities double precision[] NOT NULL,
            PRIMARY KEY (request_id, instance)
        )
    """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS feedback (
            request_id text NOT NULL,
            instance smallint NOT NULL,
            label text NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (request_id, instance),
            FOREIGN KEY (request_id, instance) REFERENCES predictions (request_id, instance)
        )
    """)
