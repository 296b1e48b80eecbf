"""Rules and dashboards name the metrics that the service and the operator promise, and no others."""

import json
import re
from collections.abc import Iterator

import pytest

from iris_inference import metric_names as service
from iris_operator import metric_names as operator
from support.observability.repository import OBSERVABILITY, groups

CONTRACT = {value for module in (service, operator) for name, value in vars(module).items() if name.isupper() and value}
# The first word of a name tells ours from those of Prometheus, Alertmanager and the kubelet.
OUR_PREFIXES = sorted({name.partition("_")[0] for name in CONTRACT})
# A colon belongs to a recording rule, whose name is made here.
METRIC_NAME = re.compile(rf"(?<![\w:])(?:{'|'.join(OUR_PREFIXES)})_\w+(?![\w:])")
DASHBOARDS = sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json"))


def metric_names(promql: str) -> set[str]:
    """Our metrics in a PromQL expression, without what a histogram adds to its name."""
    names = METRIC_NAME.findall(re.sub(r'"[^"]*"', "", promql))
    return {name if name in CONTRACT else re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def expressions_of_rules() -> list[str]:
    return [rule["expr"] for group in groups() for rule in group["rules"]]


def expressions_of_dashboards() -> Iterator[str]:
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        yield from (mark["expr"] for mark in dashboard["annotations"].get("list", []) if "expr" in mark)
        yield from (
            variable["query"] for variable in dashboard["templating"].get("list", []) if variable["type"] == "query"
        )
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == "prometheus":
                    yield target["expr"]


def test_names_are_found_in_an_expression() -> None:
    expression = (
        'sum by (code) (rate(inference_requests_total{code=~"5..",x="model_nothing"}[5m]))'
        " / release:model_inference_seconds:mean10m > model_feature_bucket - up"
    )
    assert metric_names(expression) == {"inference_requests_total", "model_feature"}


@pytest.mark.parametrize(
    ("expressions", "at_least"),
    [
        pytest.param(expressions_of_rules(), 15, id="rules"),
        pytest.param(list(expressions_of_dashboards()), 25, id="dashboards"),
    ],
)
def test_every_metric_of_ours_is_in_a_contract(expressions: list[str], at_least: int) -> None:
    named = {name for expression in expressions for name in metric_names(expression)}
    assert len(named) >= at_least
    assert named - CONTRACT == set()


def test_patterns_of_names_match_metrics_of_a_contract() -> None:
    patterns = re.findall(r'__name__=~"([^"]+)"', " ".join([*expressions_of_rules(), *expressions_of_dashboards()]))
    matched = {pattern: {name for name in CONTRACT if re.fullmatch(pattern, name)} for pattern in patterns}
    assert set(map(frozenset, matched.values())) == {frozenset({service.FEEDBACK, service.FEEDBACK_RELAYED})}
