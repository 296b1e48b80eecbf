"""One release on its way: what was decided when, on which evidence, and both versions side by side."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_observability.dashboards.panels import METRICS, RATE, RELEASE, Query, empty_board, graph, number, states


def board() -> grafana.Dashboard:
    """Decisions, evidence and comparison of the chosen release."""
    made = empty_board("Iris: release", "A release on its way: weight, evidence, and both versions side by side.")
    made.annotation(_decisions())
    _progress(made)
    _evidence(made)
    _side_by_side(made)
    _pods(made)
    return made


def _decisions() -> grafana.AnnotationQuery:
    """A mark at each decision of which people were told, with the operator's word for it."""
    expression = f"sum by (reason) (changes(iris_release_decisions_total{{{RELEASE}}}[{RATE}])) > 0"
    annotation = grafana.AnnotationQuery().name("Decisions").datasource(METRICS).enable(True).icon_color("purple")
    return annotation.expr(expression)


def _progress(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Progress"))
    made.with_panel(
        number(
            "Weight",
            "The canary's confirmed share of the traffic.",
            Query(f"iris_release_weight{{{RELEASE}}}", "weight"),
            unit="percent",
        )
    )
    made.with_panel(
        number(
            "Step",
            "Steps begun, and how many there are.",
            Query(f"iris_release_step{{{RELEASE}}}", "begun"),
            Query(f"iris_release_steps{{{RELEASE}}}", "of"),
        )
    )
    made.with_panel(
        number(
            "Versions that were taken back",
            "Since the operator started, by cause.",
            Query(f"sum(iris_release_rollbacks_total{{{RELEASE}}})", "taken back"),
        )
    )
    made.with_panel(
        graph(
            "Weight and steps",
            "The marks are the operator's decisions.",
            Query(f"iris_release_weight{{{RELEASE}}}", "weight in percent"),
            Query(f"iris_release_step{{{RELEASE}}}", "step"),
        )
    )
    made.with_panel(
        states("Phase", "What the release was in when.", Query(f"iris_release_phase{{{RELEASE}}} == 1", "{{phase}}"))
    )
    made.with_panel(
        states(
            "Stable and canary",
            "Which version served, and which one was tried beside it.",
            Query(f"iris_release_info{{{RELEASE}}}", "{{stable}} / {{canary}}"),
        )
    )


def _evidence(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Evidence"))
    relative = 'iris_check_evidence{{{0},says="{1}"}} / iris_check_evidence_needed{{{0},says="{1}"}}'
    made.with_panel(
        graph(
            "Evidence that the canary is worse",
            "For each check, as a part of what rolls back: 1 decides. The axis is logarithmic.",
            Query(relative.format(RELEASE, "worse"), "{{check}}"),
            log=True,
        )
    )
    made.with_panel(
        graph(
            "Evidence that the canary is good enough",
            "For each check, as a part of what lets the next step begin: 1 decides. The axis is logarithmic.",
            Query(relative.format(RELEASE, "good"), "{{check}}"),
            log=True,
        )
    )
    made.with_panel(
        states(
            "Verdicts",
            "What each check said when.",
            Query(f"iris_check_verdict{{{RELEASE}}} == 1", "{{check}} {{verdict}}"),
        )
    )
    made.with_panel(
        graph(
            "Shares that the checks compare",
            "Of errors, of slow requests: canary beside stable.",
            Query(f"iris_check_share{{{RELEASE}}}", "{{check}} {{side}}"),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Requests judged",
            "Canary requests that each check has counted in this release.",
            Query(f"iris_check_requests{{{RELEASE}}}", "{{check}}"),
        )
    )
    made.with_panel(
        graph(
            "Age of the last pass",
            "How long ago the operator was done with this release; it looks at an idle one every 5 minutes.",
            Query(f"time() - iris_reconcile_last_success_timestamp_seconds{{{RELEASE}}}", "age"),
            unit="s",
        )
    )


def _side_by_side(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Both versions"))
    by = "version, revision"
    name = "{{version}} ({{revision}})"
    made.with_panel(
        graph(
            "Requests",
            "What each revision answers: their ratio is the real weight.",
            Query(f"sum by ({by}) (rate(inference_requests_total{{{RELEASE}}}[{RATE}]))", name),
            unit="reqps",
        )
    )
    made.with_panel(
        graph(
            "Share of failed requests",
            "5xx answers of each revision.",
            Query(
                f'sum by ({by}) (rate(inference_requests_total{{{RELEASE},code=~"5.."}}[{RATE}]))'
                f" / sum by ({by}) (rate(inference_requests_total{{{RELEASE}}}[{RATE}]))",
                name,
            ),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Latency, 95 %",
            "Of each revision, from a request's arrival to the end of its answer.",
            Query(
                f"histogram_quantile(0.95, sum by (le, {by})"
                f" (rate(inference_request_duration_seconds_bucket{{{RELEASE}}}[{RATE}])))",
                name,
            ),
            unit="s",
        )
    )
    made.with_panel(
        graph(
            "Inference time",
            "Mean for the flowers of one request.",
            Query(
                f"sum by ({by}) (rate(model_inference_duration_seconds_sum{{{RELEASE}}}[{RATE}]))"
                f" / sum by ({by}) (rate(model_inference_duration_seconds_count{{{RELEASE}}}[{RATE}]))",
                name,
            ),
            unit="s",
        )
    )
    made.with_panel(
        graph(
            "Predicted classes",
            "Share of each class in what a version predicts.",
            Query(
                f"sum by (version, class) (rate(model_predictions_total{{{RELEASE}}}[{RATE}]))"
                f" / on (version) group_left sum by (version) (rate(model_predictions_total{{{RELEASE}}}[{RATE}]))",
                "{{version}} {{class}}",
            ),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Model failures",
            "Requests that the model of a version did not answer, by reason.",
            Query(
                f"sum by (version, reason) (rate(model_inference_failures_total{{{RELEASE}}}[{RATE}]))",
                "{{version}} {{reason}}",
            ),
            unit="reqps",
        )
    )


def _pods(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Pods"))
    made.with_panel(
        graph(
            "Ready pods",
            "Of each revision, as the operator sees them; retired ones stay for the way back.",
            Query(f"iris_revision_pods_ready{{{RELEASE}}}", "{{version}} {{role}}"),
        )
    )
    made.with_panel(
        graph(
            "Wanted pods",
            "What the operator asked for; ahead of the weight on the way up.",
            Query(f"iris_revision_pods_wanted{{{RELEASE}}}", "{{version}} {{role}}"),
        )
    )
    made.with_panel(
        graph(
            "Restarts",
            "Containers that were started again.",
            Query(
                f"sum by (version, role) (increase(iris_revision_restarts_total{{{RELEASE}}}[{RATE}]))",
                "{{version}} {{role}}",
            ),
        )
    )
