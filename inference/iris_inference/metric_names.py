"""The names of the metrics that a pod exposes: a contract with the operator, the rules and the dashboards.

Each as Prometheus has it: with `_total` for counters, without `_bucket`, `_sum` and `_count` for histograms. Users have
queries with these names, so a name is never changed, only added. A test compares them with what a pod really exposes.
"""

from typing import Final

# Requests for predictions.
REQUESTS: Final = "inference_requests_total"
REQUEST_DURATION: Final = "inference_request_duration_seconds"
AUTH_REQUESTS: Final = "auth_requests_total"
RATE_LIMIT_SYNC: Final = "rate_limit_sync_total"
CONNECTIONS: Final = "http_connections"
CONNECTIONS_TURNED_AWAY: Final = "http_connections_turned_away_total"

# The model.
MODEL_INFO: Final = "model_info"
INFERENCE_DURATION: Final = "model_inference_duration_seconds"
INFERENCE_FAILURES: Final = "model_inference_failures_total"
PREDICTIONS: Final = "model_predictions_total"
FEATURE: Final = "model_feature"
FEATURE_VALUES: Final = "model_feature_values_total"
FEEDBACK: Final = "model_feedback_total"
FEEDBACK_RELAYED: Final = "model_feedback_relayed_total"

# What is behind the predictions.
CACHE_REQUESTS: Final = "cache_requests_total"
RECORDS: Final = "prediction_records_total"
BACKLOG_RECORDS: Final = "prediction_backlog_records"
BACKLOG_BYTES: Final = "prediction_backlog_bytes"
BACKLOG_FILL_RATIO: Final = "prediction_backlog_fill_ratio"
BACKLOG_OLDEST_SECONDS: Final = "prediction_backlog_oldest_seconds"

# Mirrored requests: counted where they are sent, then where they are received.
SHADOW_SENT: Final = "shadow_copies_total"
SHADOW_PAIRS: Final = "shadow_pairs_total"
SHADOW_LABELS: Final = "shadow_labels_total"
SHADOW_SHARE_RATIO: Final = "shadow_share_ratio"
SHADOW_REQUESTS: Final = "shadow_requests_total"
SHADOW_REQUEST_DURATION: Final = "shadow_request_duration_seconds"
SHADOW_INFERENCE_FAILURES: Final = "shadow_inference_failures_total"
SHADOW_PREDICTIONS: Final = "shadow_predictions_total"
SHADOW_RECORDS: Final = "shadow_records_total"
