"""The names of metrics: those of the pods that the operator reads, and its own.

Each as Prometheus has it: with `_total` for counters, without `_bucket`, `_sum` and `_count` for histograms. Users have
queries with these names, so a name is never changed, only added. Tests compare the first part with what the prediction
service exposes, and the second with what the operator does.
"""

from __future__ import annotations

from typing import Final

# Read from the pods of a release.
REQUESTS: Final = "inference_requests_total"
REQUEST_DURATION: Final = "inference_request_duration_seconds"
INFERENCE_FAILURES: Final = "model_inference_failures_total"
PREDICTIONS: Final = "model_predictions_total"
FEATURE_VALUES: Final = "model_feature_values_total"
FEEDBACK: Final = "model_feedback_total"
FEEDBACK_RELAYED: Final = "model_feedback_relayed_total"
SHADOW_SENT: Final = "shadow_copies_total"
SHADOW_PAIRS: Final = "shadow_pairs_total"
SHADOW_LABELS: Final = "shadow_labels_total"
SHADOW_REQUESTS: Final = "shadow_requests_total"
SHADOW_REQUEST_DURATION: Final = "shadow_request_duration_seconds"
SHADOW_INFERENCE_FAILURES: Final = "shadow_inference_failures_total"
SHADOW_PREDICTIONS: Final = "shadow_predictions_total"

# The operator's own.
LEADER: Final = "iris_operator_leader"
RECONCILES: Final = "iris_reconciles_total"
RECONCILE_DURATION: Final = "iris_reconcile_duration_seconds"
RECONCILE_LAST_SUCCESS: Final = "iris_reconcile_last_success_timestamp_seconds"
RELEASE_INFO: Final = "iris_release_info"
RELEASE_PHASE: Final = "iris_release_phase"
RELEASE_WEIGHT: Final = "iris_release_weight"
RELEASE_STEP: Final = "iris_release_step"
RELEASE_STEPS: Final = "iris_release_steps"
RELEASE_REJECTED: Final = "iris_release_rejected"
RELEASE_VERDICT: Final = "iris_release_verdict"
RELEASE_DECISIONS: Final = "iris_release_decisions_total"
RELEASE_ROLLBACKS: Final = "iris_release_rollbacks_total"
RELEASE_HELD_SINCE: Final = "iris_release_held_since_timestamp_seconds"
RELEASE_WAITING_SINCE: Final = "iris_release_waiting_since_timestamp_seconds"
CHECK_VERDICT: Final = "iris_check_verdict"
CHECK_REQUESTS: Final = "iris_check_requests"
CHECK_SHARE: Final = "iris_check_share"
CHECK_EVIDENCE: Final = "iris_check_evidence"
CHECK_EVIDENCE_NEEDED: Final = "iris_check_evidence_needed"
REVISION_PODS_WANTED: Final = "iris_revision_pods_wanted"
REVISION_PODS_READY: Final = "iris_revision_pods_ready"
REVISION_RESTARTS: Final = "iris_revision_restarts_total"
