"""Both tables with daily partitions, so that old days can be dropped instead of deleted row by row."""

from datetime import timedelta

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the partitioned tables and move the rows of the old ones into them."""
    op.execute("ALTER TABLE feedback RENAME TO old_feedback")
    op.execute("ALTER TABLE predictions RENAME TO old_predictions")
    op.execute("ALTER INDEX feedback_pkey RENAME TO old_feedback_pkey")
    op.execute("ALTER INDEX predictions_pkey RENAME TO old_predictions_pkey")
    _make_tables()
    _move_rows()
    op.execute("DROP TABLE old_feedback, old_predictions")


def _make_tables() -> None:
    # The day is a column of its own because a unique constraint of PostgreSQL must include the partition key: a request
    # id is unique within a day, and a record that is written again has the day of the first time.
    op.execute("""
        CREATE TABLE predictions (
            request_id text NOT NULL,
            instance smallint NOT NULL,
            predicted_on date NOT NULL,
            predicted_at timestamptz NOT NULL,
            model_name text NOT NULL,
            model_version text NOT NULL,
            model_digest text NOT NULL,
            revision text NOT NULL,
            features double precision[] NOT NULL,
            label text NOT NULL,
            probabilities double precision[] NOT NULL,
            PRIMARY KEY (request_id, instance, predicted_on),
            CONSTRAINT predicted_on_is_the_day CHECK (predicted_on = (predicted_at AT TIME ZONE 'UTC')::date)
        ) PARTITION BY RANGE (predicted_on)
    """)
    # The rows of a day are written in the order of their time, for which a BRIN index is very cheap.
    op.execute("CREATE INDEX predictions_predicted_at ON predictions USING brin (predicted_at)")
    # No foreign key: it would prevent dropping a day, and the service accepts no label without a prediction.
    op.execute("""
        CREATE TABLE feedback (
            request_id text NOT NULL,
            instance smallint NOT NULL,
            predicted_on date NOT NULL,
            label text NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (request_id, instance, predicted_on)
        ) PARTITION BY RANGE (predicted_on)
    """)
    op.execute("""
        CREATE VIEW labelled_predictions AS
        SELECT predictions.*, feedback.label AS true_label, feedback.received_at AS labelled_at
        FROM predictions JOIN feedback USING (request_id, instance, predicted_on)
    """)


def _move_rows() -> None:
    connection = op.get_bind()
    days = connection.execute(text("SELECT DISTINCT (predicted_at AT TIME ZONE 'UTC')::date FROM old_predictions"))
    for day in days.scalars().all():
        for table in ("predictions", "feedback"):
            op.execute(
                f"CREATE TABLE {table}_{day:%Y%m%d} PARTITION OF {table} "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
    op.execute("""
        INSERT INTO predictions
        SELECT request_id, instance, (predicted_at AT TIME ZONE 'UTC')::date, predicted_at, model_name, model_version,
               model_digest, revision, features, label, probabilities
        FROM old_predictions
    """)
    op.execute("""
        INSERT INTO feedback
        SELECT request_id, instance, (predicted_at AT TIME ZONE 'UTC')::date, old_feedback.label, received_at
        FROM old_feedback JOIN old_predictions USING (request_id, instance)
    """)
