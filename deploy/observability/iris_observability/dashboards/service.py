"""The dashboard of the prediction service: requests, model, cache and records."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_inference.metric_names import (
    AUTH_REQUESTS,
    BACKLOG_FILL_RATIO,
    BACKLOG_OLDEST_SECONDS,
    CACHE_REQUESTS,
    FEATURE,
    FEEDBACK,
    INFERENCE_DURATION,
    INFERENCE_FAILURES,
    PREDICTIONS,
    RATE_LIMIT_SYNC,
    RECORDS,
    REQUEST_DURATION,
    REQUESTS,
)
from iris_observability.dashboards.panels import (
    RATE_INTERVAL,
    RELEASE_SELECTOR,
    Query,
    graph,
    new_dashboard,
    stat_panel,
)
from iris_operator.metric_names import REVISION_PODS_READY, REVISION_PODS_WANTED

# Matches FEEDBACK and FEEDBACK_RELAYED; a test compares it with both.
_FEEDBACK = f"{FEEDBACK.removesuffix('_total')}(_relayed)?_total"


def dashboard() -> grafana.Dashboard:
    """Requests, model, stores of the chosen release."""
    board = new_dashboard("Iris: service", "What callers of a release get: errors, latency, predictions, records.")
    _callers(board)
    _model(board)
    _stores(board)
    return board


def _callers(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Callers"))
    board.with_panel(
        stat_panel(
            "Failed, 1 h",
            "Share of requests that ended in a 5xx. The objective is 0.5 %.",
            Query(f"release_version:inference_errors:ratio_rate1h{{{RELEASE_SELECTOR}}}", "{{version}}"),
            unit="percentunit",
        )
    )
    board.with_panel(
        stat_panel(
            "Over 250 ms, 5 min",
            "Share of requests that took longer. The objective is 1 %.",
            Query(f"release_version:inference_slow:ratio_rate5m{{{RELEASE_SELECTOR}}}", "{{version}}"),
            unit="percentunit",
        )
    )
    board.with_panel(
        stat_panel(
            "Ready pods",
            "Of the stable revision, as the operator sees them.",
            Query(f'sum({REVISION_PODS_READY}{{{RELEASE_SELECTOR},role="stable"}})', "ready"),
            Query(f'sum({REVISION_PODS_WANTED}{{{RELEASE_SELECTOR},role="stable"}})', "wanted"),
        )
    )
    board.with_panel(
        graph(
            "Requests by version",
            "Predictions asked for, each second.",
            Query(f"sum by (version) (rate({REQUESTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))", "{{version}}"),
            unit="reqps",
        )
    )
    board.with_panel(
        graph(
            "Answers by status",
            "422 is a caller's mistake, 500 the model's, 503 ours.",
            Query(f"sum by (code) (rate({REQUESTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))", "{{code}}"),
            unit="reqps",
        )
    )
    board.with_panel(
        graph(
            "Share of failed requests",
            "5xx answers of each version; the budget burns fast above 7.2 %.",
            Query(
                f'sum by (version) (rate({REQUESTS}{{{RELEASE_SELECTOR},code=~"5.."}}[{RATE_INTERVAL}]))'
                f" / sum by (version) (rate({REQUESTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                "{{version}}",
            ),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Latency",
            "From a request's arrival to the end of its answer.",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le)"
                    f" (rate({REQUEST_DURATION}_bucket{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}])))",
                    name,
                )
                for share, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            unit="s",
        )
    )


def _model(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Model"))
    board.with_panel(
        graph(
            "Inference time",
            "What the model takes for the instances of one request, 95th percentile.",
            Query(
                "histogram_quantile(0.95, sum by (le, version)"
                f" (rate({INFERENCE_DURATION}_bucket{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}])))",
                "{{version}}",
            ),
            unit="s",
        )
    )
    board.with_panel(
        graph(
            "Failures",
            "Requests that the model did not answer, by reason.",
            Query(
                f"sum by (reason) (rate({INFERENCE_FAILURES}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                "{{reason}}",
            ),
            unit="reqps",
        )
    )
    board.with_panel(
        graph(
            "Predictions",
            "Instances by predicted class: their shares should not jump.",
            Query(f"sum by (class) (rate({PREDICTIONS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))", "{{class}}"),
            unit="ops",
        )
    )
    board.with_panel(
        graph(
            "Features",
            "Mean of each feature that requests carry, in centimetres.",
            Query(
                f"sum by (feature) (rate({FEATURE}_sum{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))"
                f" / sum by (feature) (rate({FEATURE}_count{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                "{{feature}}",
            ),
        )
    )
    board.with_panel(
        graph(
            "Drift of features",
            "Distance between the last hour's distribution and the day's before: above 0.15 an alert fires. "
            "0 until there is a past.",
            Query(
                f"release_feature:model_feature:distance{{{RELEASE_SELECTOR}}}"
                f" or 0 * sum by (namespace, release, feature) ({FEATURE}_count{{{RELEASE_SELECTOR}}})",
                "{{feature}}",
            ),
        )
    )
    board.with_panel(
        graph(
            "True labels",
            "Labels that came back, and whether the prediction was right.",
            Query(
                f'sum by (outcome) (rate({{__name__=~"{_FEEDBACK}",{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))',
                "{{outcome}}",
            ),
            unit="ops",
        )
    )


def _stores(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Cache and records"))
    board.with_panel(
        graph(
            "Cache",
            "Looked up instances by tier and result; errors mean that Redis does not answer.",
            Query(
                f"sum by (tier, result) (rate({CACHE_REQUESTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                "{{tier}} {{result}}",
            ),
            unit="ops",
        )
    )
    board.with_panel(
        graph(
            "Records",
            "Predictions on their way to PostgreSQL.",
            Query(f"sum by (result) (rate({RECORDS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))", "{{result}}"),
            unit="ops",
        )
    )
    board.with_panel(
        graph(
            "Oldest record that waits",
            "In the spool of each pod; rises while PostgreSQL is away.",
            Query(f"max by (pod) ({BACKLOG_OLDEST_SECONDS}{{{RELEASE_SELECTOR}}})", "{{pod}}"),
            unit="s",
        )
    )
    board.with_panel(
        graph(
            "Room taken by waiting records",
            "At 100 % predictions answer 503.",
            Query(f"max by (pod) ({BACKLOG_FILL_RATIO}{{{RELEASE_SELECTOR}}})", "{{pod}}"),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Keys",
            "Requests by what became of their API key.",
            Query(f"sum by (result) (rate({AUTH_REQUESTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))", "{{result}}"),
            unit="reqps",
        )
    )
    board.with_panel(
        graph(
            "Rates of keys",
            "Settlements with Redis; while they fail each pod allows the full rate.",
            Query(f"sum by (result) (rate({RATE_LIMIT_SYNC}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))", "{{result}}"),
            unit="ops",
        )
    )
