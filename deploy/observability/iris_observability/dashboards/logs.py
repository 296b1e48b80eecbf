"""The queries of docs/logs.md as panels, on the labels that the collectors set."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import logs, loki, timeseries

from iris_observability.dashboards.panels import LOKI, RELEASE_SELECTOR, Query, graph, new_dashboard

# From the Ingress controller to the pod that answered. An empty request id finds every request.
_REQUEST = '{namespace=~"$namespace|ingress"} | request_id=~".*$request.*" | request_id!=""'


def dashboard() -> grafana.Dashboard:
    """Log lines of one release, of the operator and of what they need."""
    board = new_dashboard("Iris: logs", "Why a release was rolled back, and what became of a request.")
    board.with_variable(grafana.DatasourceVariable("logs").label("Loki").type("loki"))
    board.with_variable(grafana.TextBoxVariable("request").label("Request id").default_value(""))
    board.with_row(grafana.Row("Counts"))
    board.with_panel(
        _rates(
            "Lines by level",
            "Of the chosen release's pods.",
            Query(f"sum by (level) (count_over_time({{{RELEASE_SELECTOR}}}[$__auto]))", "{{level}}"),
        )
    )
    board.with_panel(
        _rates(
            "Errors by version",
            "Lines of level error and above.",
            Query(
                f'sum by (version) (count_over_time({{{RELEASE_SELECTOR},level=~"error|fatal"}}[$__auto]))',
                "{{version}}",
            ),
        )
    )
    board.with_row(grafana.Row("Lines"))
    board.with_panel(
        _lines(
            "Decisions about the release",
            "The operator's log: why a step began, and why a version was rolled back.",
            '{app="operator",release="$release"} | reason!=""',
        )
    )
    board.with_panel(_lines("Request", "Payload, prediction and status of the request id above.", _REQUEST))
    board.with_panel(_lines("Stack traces", "Of the release's pods.", f'{{{RELEASE_SELECTOR}}} | stack!=""'))
    board.with_panel(
        _lines(
            "Cache and database",
            "When Redis or PostgreSQL was away, and when it was back.",
            f'{{{RELEASE_SELECTOR}}} |~ "(?i)redis|database"',
        )
    )
    return board


def _rates(title: str, description: str, query: Query) -> timeseries.Panel:
    panel = graph(title, description).datasource(LOKI)
    target = loki.Dataquery().datasource(LOKI).expr(query.expression).legend_format(query.legend).ref_id("A")
    return panel.with_target(target)


def _lines(title: str, description: str, query: str) -> logs.Panel:
    return (
        logs.Panel()
        .title(title)
        .description(description)
        .datasource(LOKI)
        .height(9)
        .span(24)
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .with_target(loki.Dataquery().datasource(LOKI).expr(query).ref_id("A"))
    )
