"""The predictions of a canary for mirrored requests, apart from the predictions that users received."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table. The release before this one ignores it."""
    # Columns in the order of `predictions`: rows are written to both in the same way. The revision is part of the key,
    # because a client may reuse an id on a day with another canary.
    op.execute("""
        CREATE TABLE shadow_predictions (
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
            PRIMARY KEY (request_id, instance, predicted_on, revision),
            CONSTRAINT shadow_predicted_on_is_the_day
                CHECK (predicted_on = (predicted_at AT TIME ZONE 'UTC')::date)
        ) PARTITION BY RANGE (predicted_on)
    """)
    op.execute("CREATE INDEX shadow_predictions_predicted_at ON shadow_predictions USING brin (predicted_at)")
    # The request, the prediction that its user received, and the one that the canary made.
    op.execute("""
        CREATE VIEW shadow_pairs AS
        SELECT served.request_id, served.instance, served.predicted_on, served.predicted_at, served.features,
               served.revision, served.label, served.probabilities,
               copies.revision AS canary_revision, copies.label AS canary_label,
               copies.probabilities AS canary_probabilities, feedback.label AS true_label
        FROM predictions AS served
        JOIN shadow_predictions AS copies USING (request_id, instance, predicted_on, features)
        LEFT JOIN feedback USING (request_id, instance, predicted_on)
    """)
