"""The dashboard of the operator: health, work and cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_observability.dashboards.panels import RATE_INTERVAL, Query, graph, new_dashboard, stat_panel
from iris_operator.metric_names import (
    LEADER,
    RECONCILE_DURATION,
    RECONCILE_LAST_SUCCESS,
    RECONCILES,
    RELEASE_DECISIONS,
    RELEASE_PHASE,
    RELEASE_ROLLBACKS,
    RELEASE_VERDICT,
)

_JOB_SELECTOR = 'job="iris-operator"'


def dashboard() -> grafana.Dashboard:
    """Reconciliations, decisions and cost over all releases."""
    board = new_dashboard("Iris: operator", "Is the operator at work, and what does it cost.", release_variables=False)
    _health(board)
    _work(board)
    _cost(board)
    return board


def _health(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Health"))
    board.with_panel(
        stat_panel(
            "Operators",
            "That answer Prometheus, and how many of them lead: never more than one.",
            Query(f"sum(up{{{_JOB_SELECTOR}}})", "up"),
            Query(f"sum({LEADER})", "lead"),
        )
    )
    board.with_panel(
        stat_panel("Releases", "Which are in which phase.", Query(f"sum by (phase) ({RELEASE_PHASE}) > 0", "{{phase}}"))
    )
    board.with_panel(
        stat_panel(
            "Oldest pass",
            "The longest that any release has not been looked at; idle ones are every 5 minutes.",
            Query(f"time() - min({RECONCILE_LAST_SUCCESS})", "age"),
            unit="s",
        )
    )


def _work(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Work"))
    board.with_panel(
        graph(
            "Passes",
            "conflict: somebody else changed the object first. failed: something was in the way; the log says what.",
            Query(f"sum by (result) (rate({RECONCILES}[{RATE_INTERVAL}]))", "{{result}}"),
            unit="ops",
        )
    )
    board.with_panel(
        graph(
            "Duration of a pass",
            "Over one release, with its reads and writes.",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) (rate({RECONCILE_DURATION}_bucket[{RATE_INTERVAL}])))",
                    name,
                )
                for share, name in ((0.5, "median"), (0.99, "99 %"))
            ),
            unit="s",
        )
    )
    board.with_panel(
        graph(
            "Decisions",
            "Published as events, by reason.",
            Query(f"sum by (reason) (increase({RELEASE_DECISIONS}[{RATE_INTERVAL}]))", "{{reason}}"),
        )
    )
    board.with_panel(
        graph(
            "Rollbacks",
            "Versions that were rolled back, by cause.",
            Query(f"sum by (reason) (increase({RELEASE_ROLLBACKS}[{RATE_INTERVAL}]))", "{{reason}}"),
        )
    )
    board.with_panel(
        graph(
            "Verdicts",
            "Releases by what their checks say together; Error and NoData mean that a canary is not judged.",
            Query(f"sum by (verdict) ({RELEASE_VERDICT})", "{{verdict}}"),
        )
    )


def _cost(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Cost"))
    board.with_panel(
        graph(
            "Memory",
            "Resident; the limit is 256 MiB.",
            Query(f"process_resident_memory_bytes{{{_JOB_SELECTOR}}}", "{{pod}}"),
            unit="bytes",
        )
    )
    board.with_panel(
        graph(
            "CPU",
            "Of one processor.",
            Query(f"rate(process_cpu_seconds_total{{{_JOB_SELECTOR}}}[{RATE_INTERVAL}])", "{{pod}}"),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Open files",
            "Connections and watches among them.",
            Query(f"process_open_fds{{{_JOB_SELECTOR}}}", "{{pod}}"),
        )
    )
