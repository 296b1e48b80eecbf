"""What containers use, how often they start, and whether monitoring itself is well."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_observability.dashboards.panels import RATE, Query, empty_board, graph

_OURS = 'namespace=~"iris|iris-system",container!~"|POD"'
_BY = "namespace, pod, container"
_NAME = "{{pod}} {{container}}"


def board() -> grafana.Dashboard:
    """Containers of both namespaces, as the kubelet sees them, and Prometheus."""
    made = empty_board("Iris: resources", "Processors, memory and starts of every container.", of_one_release=False)
    _containers(made)
    _monitoring(made)
    return made


def _containers(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Containers"))
    made.with_panel(
        graph(
            "CPU",
            "Processors that each container keeps busy.",
            Query(f"sum by ({_BY}) (rate(container_cpu_usage_seconds_total{{{_OURS}}}[{RATE}]))", _NAME),
        )
    )
    made.with_panel(
        graph(
            "Throttled",
            "Share of periods in which a container had used up its CPU limit.",
            Query(
                f"sum by ({_BY}) (rate(container_cpu_cfs_throttled_periods_total{{{_OURS}}}[{RATE}]))"
                f" / sum by ({_BY}) (rate(container_cpu_cfs_periods_total{{{_OURS}}}[{RATE}]))",
                _NAME,
            ),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Memory",
            "Working set: what the limit is held against.",
            Query(f"max by ({_BY}) (container_memory_working_set_bytes{{{_OURS}}})", _NAME),
            unit="bytes",
        )
    )
    made.with_panel(
        graph(
            "Memory of its limit",
            "At 100 % the container is killed.",
            Query(
                f"max by ({_BY}) (container_memory_working_set_bytes{{{_OURS}}})"
                f" / (max by ({_BY}) (container_spec_memory_limit_bytes{{{_OURS}}}) > 0)",
                _NAME,
            ),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Starts in 10 minutes",
            "Each start of a container is a series of its own; 1 is a container that runs.",
            Query(f"count by ({_BY}) (last_over_time(container_start_time_seconds{{{_OURS}}}[10m]))", _NAME),
        )
    )
    made.with_panel(
        graph(
            "Killed for memory",
            "By the kernel, since the container started.",
            Query(f"sum by ({_BY}) (container_oom_events_total{{{_OURS}}})", _NAME),
        )
    )
    made.with_panel(
        graph(
            "Ready pods",
            "Ready ones as a share of those wanted, by release and role.",
            Query(
                "sum by (namespace, release, role) (iris_revision_pods_ready)"
                " / (sum by (namespace, release, role) (iris_revision_pods_wanted) > 0)",
                "{{release}} {{role}}",
            ),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph(
            "Restarts",
            "Of the pods of releases.",
            Query("sum by (release, version) (iris_revision_restarts_total)", "{{release}} {{version}}"),
        )
    )


def _monitoring(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Monitoring"))
    made.with_panel(graph("Targets", "That answer, by job.", Query('sum by (job) (up{job=~"iris-.*"})', "{{job}}")))
    made.with_panel(
        graph(
            "Series",
            "That Prometheus holds in memory.",
            Query('prometheus_tsdb_head_series{job="iris-prometheus"}', "series"),
        )
    )
    made.with_panel(
        graph(
            "Failed rules",
            "Evaluations that failed: their alerts are not to be relied on.",
            Query(f"sum(rate(prometheus_rule_evaluation_failures_total[{RATE}]))", "failures"),
        )
    )
    made.with_panel(
        graph(
            "Alerts",
            "Those that fire; the one that always does is the sign of life.",
            Query('count by (alertname) (ALERTS{alertstate="firing"})', "{{alertname}}"),
        )
    )
    made.with_panel(
        graph(
            "Notifications",
            "Sent by Alertmanager, and failed.",
            Query(f"sum by (integration) (rate(alertmanager_notifications_total[{RATE}]))", "{{integration}}"),
            Query(
                f"sum by (integration) (rate(alertmanager_notifications_failed_total[{RATE}]))",
                "{{integration}} failed",
            ),
        )
    )
