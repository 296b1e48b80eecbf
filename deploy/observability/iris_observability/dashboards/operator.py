"""The operator itself: is it at work, does it keep up, what does it cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_observability.dashboards.panels import RATE, Query, empty_board, graph, number

_JOB = 'job="iris-operator"'


def board() -> grafana.Dashboard:
    """Passes, decisions and cost over all releases."""
    made = empty_board("Iris: operator", "Is the operator at work, and what does it cost.", of_one_release=False)
    _health(made)
    _work(made)
    _cost(made)
    return made


def _health(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Health"))
    made.with_panel(
        number("Operators", "That answer Prometheus; there is never more than one.", Query(f"sum(up{{{_JOB}}})", "up"))
    )
    made.with_panel(
        number("Releases", "Which are in which phase.", Query("sum by (phase) (iris_release_phase) > 0", "{{phase}}"))
    )
    made.with_panel(
        number(
            "Oldest pass",
            "The longest that any release has not been looked at; idle ones are every 5 minutes.",
            Query("time() - min(iris_reconcile_last_success_timestamp_seconds)", "age"),
            unit="s",
        )
    )


def _work(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Work"))
    made.with_panel(
        graph(
            "Passes",
            "conflict: somebody else changed the object first. failed: something was in the way; the log says what.",
            Query(f"sum by (result) (rate(iris_reconciles_total[{RATE}]))", "{{result}}"),
            unit="ops",
        )
    )
    made.with_panel(
        graph(
            "Duration of a pass",
            "Over one release, with its reads and writes.",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) (rate(iris_reconcile_duration_seconds_bucket[{RATE}])))",
                    name,
                )
                for share, name in ((0.5, "median"), (0.99, "99 %"))
            ),
            unit="s",
        )
    )
    made.with_panel(
        graph(
            "Decisions",
            "Of which people were told, by the operator's word.",
            Query(f"sum by (reason) (increase(iris_release_decisions_total[{RATE}]))", "{{reason}}"),
        )
    )
    made.with_panel(
        graph(
            "Rollbacks",
            "Versions that were taken back, by cause.",
            Query(f"sum by (reason) (increase(iris_release_rollbacks_total[{RATE}]))", "{{reason}}"),
        )
    )
    made.with_panel(
        graph(
            "Verdicts",
            "Releases by what their checks say together; Error and NoData mean that a canary is not judged.",
            Query("sum by (verdict) (iris_release_verdict)", "{{verdict}}"),
        )
    )


def _cost(made: grafana.Dashboard) -> None:
    made.with_row(grafana.Row("Cost"))
    made.with_panel(
        graph(
            "Memory",
            "Resident; the limit is 256 MiB.",
            Query(f"process_resident_memory_bytes{{{_JOB}}}", "{{pod}}"),
            unit="bytes",
        )
    )
    made.with_panel(
        graph(
            "CPU",
            "Of one processor.",
            Query(f"rate(process_cpu_seconds_total{{{_JOB}}}[{RATE}])", "{{pod}}"),
            unit="percentunit",
        )
    )
    made.with_panel(
        graph("Open files", "Connections and watches among them.", Query(f"process_open_fds{{{_JOB}}}", "{{pod}}"))
    )
