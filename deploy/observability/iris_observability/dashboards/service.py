"""What callers get, and what the service needs for it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_observability.dashboards.panels import RATE, RELEASE, Query, empty_board, graph, number


def board() -> grafana.Dashboard:
    """Requests, model, stores of the chosen release."""
    made = empty_board("Iris: service", "What callers of a release get: errors, latency, predictions, records.")
    _callers(made)
    _model(made)
    _stores(made)
    return made


def _callers(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Callers"))
    made.with_panel(
        number(
            "Failed, 1 h",
            "Share of requests that ended in a 5xx. The objective is 0.5 %.",
            Query(f"release_version:inference_errors:ratio_rate1h{{{RELEASE}}}", "{{version}}"),
            unit="percentunit",
        )
    )
    made.with_panel(
        number(
            "Over 250 ms, 5 min",
            "Share of requests that took longer. The objective is 1 %.",
            Query(f"release_version:inference_slow:ratio_rate5m{{{RELEASE}}}", "{{version}}"),
            unit="percentunit",
        )
    )
    made.with_panel(
        number(
            "Ready pods",
            "Of the stable revision, as the operator sees them.",
            Query(f'sum(iris_revision_pods_ready{{{RELEASE},role="stable"}})', "ready"),
            Query(f'sum(iris_revision_pods_wanted{{{RELEASE},role="stable"}})', "wanted"),
        )
    )
    made.with_panel(
        graph(
            "Requests by version",
            "Predictions asked for, each second.",
            Query(f"sum by (version) (rate(inference_requests_total{{{RELEASE}}}[{RATE}]))", "{{version}}"),
            unit="reqps",
        )
    )
    made.with_panel(
        graph(
            "Answers by status",
            "422 is a caller's mistake, 500 the model's, 503 ours.",
            Query(f"sum by (code) (rate(inference_requests_total{{{RELEASE}}}[{RATE}]))", "{{code}}"),
            unit="reqps",
        )
    )
    made.with_panel(
        graph(
            "Share of failed requests",
            "5xx answers of each version; the budget burns fast above 7.2 %.",
            Query(
                f'sum by (version) (rate(inference_requests_total{{{RELEASE},code=~"5.."}}[{RATE}]))'
                f" / sum by (version) (rate(inference_requests_total{{{RELEASE}}}[{RATE}]))",
                "{{version}}",
            ),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Latency",
            "From a request's arrival to the end of its answer.",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le)"
                    f" (rate(inference_request_duration_seconds_bucket{{{RELEASE}}}[{RATE}])))",
                    name,
                )
                for share, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            unit="s",
        )
    )


def _model(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Model"))
    made.with_panel(
        graph(
            "Inference time",
            "What the model takes for the flowers of one request, 95th percentile.",
            Query(
                "histogram_quantile(0.95, sum by (le, version)"
                f" (rate(model_inference_duration_seconds_bucket{{{RELEASE}}}[{RATE}])))",
                "{{version}}",
            ),
            unit="s",
        )
    )
    made.with_panel(
        graph(
            "Failures",
            "Requests that the model did not answer, by reason.",
            Query(
                f"sum by (reason) (rate(model_inference_failures_total{{{RELEASE}}}[{RATE}]))",
                "{{reason}}",
            ),
            unit="reqps",
        )
    )
    made.with_panel(
        graph(
            "Predictions",
            "Flowers by predicted class: their shares should not jump.",
            Query(f"sum by (class) (rate(model_predictions_total{{{RELEASE}}}[{RATE}]))", "{{class}}"),
            unit="ops",
        )
    )
    made.with_panel(
        graph(
            "Features",
            "Mean of each feature that requests carry, in centimetres.",
            Query(
                f"sum by (feature) (rate(model_feature_sum{{{RELEASE}}}[{RATE}]))"
                f" / sum by (feature) (rate(model_feature_count{{{RELEASE}}}[{RATE}]))",
                "{{feature}}",
            ),
        )
    )
    made.with_panel(
        graph(
            "Drift of features",
            "Distance between the last hour's distribution and the day's before: above 0.15 somebody is told. "
            "0 until there is a past.",
            Query(
                f"release_feature:model_feature:distance{{{RELEASE}}}"
                f" or 0 * sum by (namespace, release, feature) (model_feature_count{{{RELEASE}}})",
                "{{feature}}",
            ),
        )
    )
    made.with_panel(
        graph(
            "True labels",
            "Labels that came back, and whether the prediction was right.",
            Query(
                f'sum by (outcome) (rate({{__name__=~"model_feedback(_relayed)?_total",{RELEASE}}}[{RATE}]))',
                "{{outcome}}",
            ),
            unit="ops",
        )
    )


def _stores(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Cache and records"))
    made.with_panel(
        graph(
            "Cache",
            "Looked up flowers by tier and result; errors mean that Redis is away.",
            Query(
                f"sum by (tier, result) (rate(cache_requests_total{{{RELEASE}}}[{RATE}]))",
                "{{tier}} {{result}}",
            ),
            unit="ops",
        )
    )
    made.with_panel(
        graph(
            "Records",
            "Predictions on their way to PostgreSQL.",
            Query(f"sum by (result) (rate(prediction_records_total{{{RELEASE}}}[{RATE}]))", "{{result}}"),
            unit="ops",
        )
    )
    made.with_panel(
        graph(
            "Oldest record that waits",
            "In the spool of each pod; rises while PostgreSQL is away.",
            Query(f"max by (pod) (prediction_backlog_oldest_seconds{{{RELEASE}}})", "{{pod}}"),
            unit="s",
        )
    )
    made.with_panel(
        graph(
            "Room taken by waiting records",
            "At 100 % predictions answer 503.",
            Query(f"max by (pod) (prediction_backlog_fill_ratio{{{RELEASE}}})", "{{pod}}"),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Keys",
            "Requests by what became of their API key.",
            Query(f"sum by (result) (rate(auth_requests_total{{{RELEASE}}}[{RATE}]))", "{{result}}"),
            unit="reqps",
        )
    )
    made.with_panel(
        graph(
            "Rates of keys",
            "Settlements with Redis; while they fail each pod allows the full rate.",
            Query(f"sum by (result) (rate(rate_limit_sync_total{{{RELEASE}}}[{RATE}]))", "{{result}}"),
            unit="ops",
        )
    )
