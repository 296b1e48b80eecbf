"""The questions of docs/logs.md as panels, on the labels that the collectors set."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import logs, loki, timeseries

from iris_observability.dashboards.panels import LOGS, RELEASE, Query, empty_board, graph

# From the Ingress controller to the pod that answered. An empty request id finds every request.
_REQUEST = '{namespace=~"$namespace|ingress"} | request_id=~".*$request.*" | request_id!=""'


def board() -> grafana.Dashboard:
    """Log lines of one release, of the operator and of what they need."""
    made = empty_board("Iris: logs", "Why a release was taken back, and what became of a request.")
    made.with_variable(grafana.DatasourceVariable("logs").label("Loki").type("loki"))
    made.with_variable(grafana.TextBoxVariable("request").label("Request id").default_value(""))
    made.with_row(grafana.Row("Counts"))
    made.with_panel(
        _rates(
            "Lines by level",
            "Of the chosen release's pods.",
            Query(f"sum by (level) (count_over_time({{{RELEASE}}}[$__auto]))", "{{level}}"),
        )
    )
    made.with_panel(
        _rates(
            "Errors by version",
            "Lines of level error and above.",
            Query(f'sum by (version) (count_over_time({{{RELEASE},level=~"error|fatal"}}[$__auto]))', "{{version}}"),
        )
    )
    made.with_row(grafana.Row("Lines"))
    made.with_panel(
        _lines(
            "Decisions about the release",
            "The operator's own words: why a step was taken, and why a version was taken back.",
            '{app="operator",release="$release"} | reason!=""',
        )
    )
    made.with_panel(_lines("Request", "Payload, prediction and status of the request id above.", _REQUEST))
    made.with_panel(_lines("Stack traces", "Of the release's pods.", f'{{{RELEASE}}} | stack!=""'))
    made.with_panel(
        _lines(
            "Cache and database",
            "When Redis or PostgreSQL was away, and when it was back.",
            f'{{{RELEASE}}} |~ "(?i)redis|database"',
        )
    )
    return made


def _rates(title: str, description: str, query: Query) -> timeseries.Panel:
    panel = graph(title, description).datasource(LOGS)
    target = loki.Dataquery().datasource(LOGS).expr(query.expression).legend_format(query.legend).ref_id("A")
    return panel.with_target(target)


def _lines(title: str, description: str, query: str) -> logs.Panel:
    return (
        logs.Panel()
        .title(title)
        .description(description)
        .datasource(LOGS)
        .height(9)
        .span(24)
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .with_target(loki.Dataquery().datasource(LOGS).expr(query).ref_id("A"))
    )
