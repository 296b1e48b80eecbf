"""The vocabulary of the dashboards: a query, a graph, a number, a list of states, and the board they hang on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableHide,
    VariableRefresh,
    VariableSort,
)

TAG = "iris"
# Chosen on the board, so that the JSON can be imported into any Grafana.
METRICS = DataSourceRef(type_val="prometheus", uid="${metrics}")
LOGS = DataSourceRef(type_val="loki", uid="${logs}")
# Of one release, for the selectors of the queries.
RELEASE = 'namespace="$namespace",release="$release"'
# Grafana's own: at least four scrapes, however far one zooms in.
RATE = "$__rate_interval"

_HEIGHT = 7
_WIDTH = 8


@dataclass(frozen=True)
class Query:
    """PromQL, and how its series are called: `{{label}}` stands for a label's value."""

    expression: str
    legend: str


def graph(title: str, description: str, *queries: Query, unit: str = "short", log: bool = False) -> timeseries.Panel:
    """Lines over time; with `log` on a logarithmic axis."""
    scale = common.ScaleDistributionConfig().type(ScaleDistribution.LOG if log else ScaleDistribution.LINEAR)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(METRICS)
        .unit(unit)
        .height(_HEIGHT)
        .span(_WIDTH)
        .line_width(1)
        .fill_opacity(8)
        .scale_distribution(scale.log(10) if log else scale)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for target in _targets(queries):
        panel.with_target(target)
    return panel if log else panel.axis_soft_min(0)


def number(title: str, description: str, *queries: Query, unit: str = "short") -> stat.Panel:
    """The newest value, large."""
    panel = stat.Panel().title(title).description(description).datasource(METRICS).unit(unit).height(4).span(_WIDTH)
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def states(title: str, description: str, *queries: Query) -> statetimeline.Panel:
    """Which states held when."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(METRICS)
        .height(_HEIGHT)
        .span(_WIDTH)
        .merge_values(True)
    )
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def empty_board(title: str, description: str, *, of_one_release: bool = True) -> grafana.Dashboard:
    """An empty board; `of_one_release` lets the reader choose which."""
    made = (
        grafana.Dashboard(title)
        .description(description)
        .tags([TAG])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            grafana.DashboardLink("Iris")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(grafana.DatasourceVariable("metrics").label("Prometheus").type("prometheus"))
    )
    if of_one_release:
        made.with_variable(_choice("namespace", "label_values(iris_release_phase, namespace)"))
        made.with_variable(_choice("release", 'label_values(iris_release_phase{namespace="$namespace"}, release)'))
    return made


def _choice(name: str, query: str) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(name)
        .label(name.title())
        .datasource(METRICS)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .hide(VariableHide.DONT_HIDE)
    )


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .datasource(METRICS)
        .expr(query.expression)
        .legend_format(query.legend)
        .range()
        .ref_id(chr(ord("A") + position))
        for position, query in enumerate(queries)
    ]
