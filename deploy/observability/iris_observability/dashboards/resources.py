"""The dashboard of resources: usage and restarts of containers, and the health of monitoring itself."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_observability.dashboards.panels import RATE_INTERVAL, Query, graph, new_dashboard
from iris_operator.metric_names import REVISION_PODS_READY, REVISION_PODS_WANTED, REVISION_RESTARTS

_SELECTOR = 'namespace=~"iris|iris-system",container!~"|POD"'
_LABELS = "namespace, pod, container"
_LEGEND = "{{pod}} {{container}}"


def dashboard() -> grafana.Dashboard:
    """Containers of both namespaces, as the kubelet reports them, and Prometheus."""
    board = new_dashboard(
        "Iris: resources", "Processors, memory and starts of every container.", release_variables=False
    )
    _containers(board)
    _monitoring(board)
    return board


def _containers(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Containers"))
    board.with_panel(
        graph(
            "CPU",
            "Processors that each container keeps busy.",
            Query(
                f"sum by ({_LABELS}) (rate(container_cpu_usage_seconds_total{{{_SELECTOR}}}[{RATE_INTERVAL}]))", _LEGEND
            ),
        )
    )
    board.with_panel(
        graph(
            "Throttled",
            "Share of periods in which a container had used up its CPU limit.",
            Query(
                f"sum by ({_LABELS}) (rate(container_cpu_cfs_throttled_periods_total{{{_SELECTOR}}}[{RATE_INTERVAL}]))"
                f" / sum by ({_LABELS}) (rate(container_cpu_cfs_periods_total{{{_SELECTOR}}}[{RATE_INTERVAL}]))",
                _LEGEND,
            ),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Memory",
            "Working set: what the limit is held against.",
            Query(f"max by ({_LABELS}) (container_memory_working_set_bytes{{{_SELECTOR}}})", _LEGEND),
            unit="bytes",
        )
    )
    board.with_panel(
        graph(
            "Memory of its limit",
            "At 100 % the container is killed.",
            Query(
                f"max by ({_LABELS}) (container_memory_working_set_bytes{{{_SELECTOR}}})"
                f" / (max by ({_LABELS}) (container_spec_memory_limit_bytes{{{_SELECTOR}}}) > 0)",
                _LEGEND,
            ),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Starts in 10 minutes",
            "Each start of a container is a series of its own; 1 is a container that runs.",
            Query(f"count by ({_LABELS}) (last_over_time(container_start_time_seconds{{{_SELECTOR}}}[10m]))", _LEGEND),
        )
    )
    board.with_panel(
        graph(
            "Killed for memory",
            "By the kernel, since the container started.",
            Query(f"sum by ({_LABELS}) (container_oom_events_total{{{_SELECTOR}}})", _LEGEND),
        )
    )
    board.with_panel(
        graph(
            "Ready pods",
            "Ready ones as a share of those wanted, by release and role.",
            Query(
                f"sum by (namespace, release, role) ({REVISION_PODS_READY})"
                f" / (sum by (namespace, release, role) ({REVISION_PODS_WANTED}) > 0)",
                "{{release}} {{role}}",
            ),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Restarts",
            "Of the pods of releases.",
            Query(f"sum by (release, version) ({REVISION_RESTARTS})", "{{release}} {{version}}"),
        )
    )


def _monitoring(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Monitoring"))
    board.with_panel(graph("Targets", "That answer, by job.", Query('sum by (job) (up{job=~"iris-.*"})', "{{job}}")))
    board.with_panel(
        graph(
            "Series",
            "That Prometheus holds in memory.",
            Query('prometheus_tsdb_head_series{job="iris-prometheus"}', "series"),
        )
    )
    board.with_panel(
        graph(
            "Failed rules",
            "Evaluations that failed: their alerts are not to be relied on.",
            Query(f"sum(rate(prometheus_rule_evaluation_failures_total[{RATE_INTERVAL}]))", "failures"),
        )
    )
    board.with_panel(
        graph(
            "Alerts",
            "Those that fire; the one that always does is the sign of life.",
            Query('count by (alertname) (ALERTS{alertstate="firing"})', "{{alertname}}"),
        )
    )
    board.with_panel(
        graph(
            "Notifications",
            "Sent by Alertmanager, and failed.",
            Query(f"sum by (integration) (rate(alertmanager_notifications_total[{RATE_INTERVAL}]))", "{{integration}}"),
            Query(
                f"sum by (integration) (rate(alertmanager_notifications_failed_total[{RATE_INTERVAL}]))",
                "{{integration}} failed",
            ),
        )
    )
