"""The dashboard of a rollout: decisions, evidence, and both versions side by side."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from iris_inference.metric_names import INFERENCE_DURATION, INFERENCE_FAILURES, PREDICTIONS, REQUEST_DURATION, REQUESTS
from iris_observability.dashboards.panels import (
    PROMETHEUS,
    RATE_INTERVAL,
    RELEASE_SELECTOR,
    Query,
    graph,
    new_dashboard,
    stat_panel,
    state_timeline,
)
from iris_operator.metric_names import (
    CHECK_EVIDENCE,
    CHECK_EVIDENCE_NEEDED,
    CHECK_REQUESTS,
    CHECK_SHARE,
    CHECK_VERDICT,
    RECONCILE_LAST_SUCCESS,
    RELEASE_DECISIONS,
    RELEASE_INFO,
    RELEASE_PHASE,
    RELEASE_ROLLBACKS,
    RELEASE_STEP,
    RELEASE_STEPS,
    RELEASE_WEIGHT,
    REVISION_PODS_READY,
    REVISION_PODS_WANTED,
    REVISION_RESTARTS,
)


def dashboard() -> grafana.Dashboard:
    """Decisions, evidence and comparison of the chosen release."""
    board = new_dashboard("Iris: release", "A release on its way: weight, evidence, and both versions side by side.")
    board.annotation(_decisions())
    _progress(board)
    _evidence(board)
    _side_by_side(board)
    _pods(board)
    return board


def _decisions() -> grafana.AnnotationQuery:
    """An annotation at each published decision, with the operator's reason."""
    expression = f"sum by (reason) (changes({RELEASE_DECISIONS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}])) > 0"
    annotation = grafana.AnnotationQuery().name("Decisions").datasource(PROMETHEUS).enable(True).icon_color("purple")
    return annotation.expr(expression)


def _progress(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Progress"))
    board.with_panel(
        stat_panel(
            "Weight",
            "The canary's confirmed share of the traffic.",
            Query(f"{RELEASE_WEIGHT}{{{RELEASE_SELECTOR}}}", "weight"),
            unit="percent",
        )
    )
    board.with_panel(
        stat_panel(
            "Step",
            "Steps begun, and how many there are.",
            Query(f"{RELEASE_STEP}{{{RELEASE_SELECTOR}}}", "begun"),
            Query(f"{RELEASE_STEPS}{{{RELEASE_SELECTOR}}}", "of"),
        )
    )
    board.with_panel(
        stat_panel(
            "Versions that were rolled back",
            "Since the operator started, by cause.",
            Query(f"sum({RELEASE_ROLLBACKS}{{{RELEASE_SELECTOR}}})", "rolled back"),
        )
    )
    board.with_panel(
        graph(
            "Weight and steps",
            "The marks are the operator's decisions.",
            Query(f"{RELEASE_WEIGHT}{{{RELEASE_SELECTOR}}}", "weight in percent"),
            Query(f"{RELEASE_STEP}{{{RELEASE_SELECTOR}}}", "step"),
        )
    )
    board.with_panel(
        state_timeline(
            "Phase", "What the release was in when.", Query(f"{RELEASE_PHASE}{{{RELEASE_SELECTOR}}} == 1", "{{phase}}")
        )
    )
    board.with_panel(
        state_timeline(
            "Stable and canary",
            "Which version served, and which one was tried beside it.",
            Query(f"{RELEASE_INFO}{{{RELEASE_SELECTOR}}}", "{{stable}} / {{canary}}"),
        )
    )


def _evidence(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Evidence"))
    board.with_panel(
        graph(
            "Evidence that the canary is worse",
            "For each check, as a part of what rolls back: 1 decides. The axis is logarithmic.",
            Query(_relative_evidence("worse"), "{{check}}"),
            log=True,
        )
    )
    board.with_panel(
        graph(
            "Evidence that the canary is good enough",
            "For each check, as a part of what lets the next step begin: 1 decides. The axis is logarithmic.",
            Query(_relative_evidence("good"), "{{check}}"),
            log=True,
        )
    )
    board.with_panel(
        state_timeline(
            "Verdicts",
            "What each check said when.",
            Query(f"{CHECK_VERDICT}{{{RELEASE_SELECTOR}}} == 1", "{{check}} {{verdict}}"),
        )
    )
    board.with_panel(
        graph(
            "Shares that the checks compare",
            "Of errors, of slow requests: canary beside stable.",
            Query(f"{CHECK_SHARE}{{{RELEASE_SELECTOR}}}", "{{check}} {{side}}"),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Requests judged",
            "Canary requests that each check has counted in this release.",
            Query(f"{CHECK_REQUESTS}{{{RELEASE_SELECTOR}}}", "{{check}}"),
        )
    )
    board.with_panel(
        graph(
            "Age of the last pass",
            "How long ago the operator was done with this release; it looks at an idle one every 5 minutes.",
            Query(f"time() - {RECONCILE_LAST_SUCCESS}{{{RELEASE_SELECTOR}}}", "age"),
            unit="s",
        )
    )


def _relative_evidence(says: str) -> str:
    """The evidence of each check as a share of what decides; `says` is the label's value: `worse` or `good`."""
    selector = f'{RELEASE_SELECTOR},says="{says}"'
    return f"{CHECK_EVIDENCE}{{{selector}}} / {CHECK_EVIDENCE_NEEDED}{{{selector}}}"


def _side_by_side(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Both versions"))
    by = "version, revision"
    name = "{{version}} ({{revision}})"
    board.with_panel(
        graph(
            "Requests",
            "What each revision answers: their ratio is the real weight.",
            Query(f"sum by ({by}) (rate({REQUESTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))", name),
            unit="reqps",
        )
    )
    board.with_panel(
        graph(
            "Share of failed requests",
            "5xx answers of each revision.",
            Query(
                f'sum by ({by}) (rate({REQUESTS}{{{RELEASE_SELECTOR},code=~"5.."}}[{RATE_INTERVAL}]))'
                f" / sum by ({by}) (rate({REQUESTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                name,
            ),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Latency, 95 %",
            "Of each revision, from a request's arrival to the end of its answer.",
            Query(
                f"histogram_quantile(0.95, sum by (le, {by})"
                f" (rate({REQUEST_DURATION}_bucket{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}])))",
                name,
            ),
            unit="s",
        )
    )
    board.with_panel(
        graph(
            "Inference time",
            "Mean for the instances of one request.",
            Query(
                f"sum by ({by}) (rate({INFERENCE_DURATION}_sum{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))"
                f" / sum by ({by}) (rate({INFERENCE_DURATION}_count{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                name,
            ),
            unit="s",
        )
    )
    board.with_panel(
        graph(
            "Predicted classes",
            "Share of each class in what a version predicts.",
            Query(
                f"sum by (version, class) (rate({PREDICTIONS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))"
                " / on (version) group_left"
                f" sum by (version) (rate({PREDICTIONS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                "{{version}} {{class}}",
            ),
            unit="percentunit",
        )
    )
    board.with_panel(
        graph(
            "Model failures",
            "Requests that the model of a version did not answer, by reason.",
            Query(
                f"sum by (version, reason) (rate({INFERENCE_FAILURES}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                "{{version}} {{reason}}",
            ),
            unit="reqps",
        )
    )


def _pods(board: grafana.Dashboard) -> None:
    board.with_row(grafana.Row("Pods"))
    board.with_panel(
        graph(
            "Ready pods",
            "Of each revision, as the operator sees them; retired ones stay for the way back.",
            Query(f"{REVISION_PODS_READY}{{{RELEASE_SELECTOR}}}", "{{version}} {{role}}"),
        )
    )
    board.with_panel(
        graph(
            "Wanted pods",
            "What the operator asked for; ahead of the weight on the way up.",
            Query(f"{REVISION_PODS_WANTED}{{{RELEASE_SELECTOR}}}", "{{version}} {{role}}"),
        )
    )
    board.with_panel(
        graph(
            "Restarts",
            "Containers that were started again.",
            Query(
                f"sum by (version, role) (increase({REVISION_RESTARTS}{{{RELEASE_SELECTOR}}}[{RATE_INTERVAL}]))",
                "{{version}} {{role}}",
            ),
        )
    )
