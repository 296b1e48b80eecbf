"""Builders for the parts of a dashboard: queries, graphs, stat panels, state timelines, and the dashboard itself."""

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

from iris_operator.metric_names import RELEASE_PHASE

TAG = "iris"
# Dashboard variables, so that the JSON can be imported into any Grafana.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${metrics}")
LOKI = DataSourceRef(type_val="loki", uid="${logs}")
# Label matchers for the chosen release.
RELEASE_SELECTOR = 'namespace="$namespace",release="$release"'
# Grafana's variable: at least four scrape intervals at any zoom level.
RATE_INTERVAL = "$__rate_interval"

_HEIGHT = 7
_WIDTH = 8


@dataclass(frozen=True)
class Query:
    """PromQL, and the legend of its series, in which `{{label}}` is replaced by the label's value."""

    expression: str
    legend: str


def graph(title: str, description: str, *queries: Query, unit: str = "short", log: bool = False) -> timeseries.Panel:
    """Lines over time; with `log` on a logarithmic axis."""
    scale = common.ScaleDistributionConfig().type(ScaleDistribution.LOG if log else ScaleDistribution.LINEAR)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
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


def stat_panel(title: str, description: str, *queries: Query, unit: str = "short") -> stat.Panel:
    """The newest value, large."""
    panel = stat.Panel().title(title).description(description).datasource(PROMETHEUS).unit(unit).height(4).span(_WIDTH)
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def state_timeline(title: str, description: str, *queries: Query) -> statetimeline.Panel:
    """Which states held when."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .height(_HEIGHT)
        .span(_WIDTH)
        .merge_values(True)
    )
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def new_dashboard(title: str, description: str, *, release_variables: bool = True) -> grafana.Dashboard:
    """An empty dashboard; `release_variables` adds variables to choose a release."""
    dashboard = (
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
    if release_variables:
        dashboard.with_variable(_label_variable("namespace", f"label_values({RELEASE_PHASE}, namespace)"))
        dashboard.with_variable(
            _label_variable("release", f'label_values({RELEASE_PHASE}{{namespace="$namespace"}}, release)')
        )
    return dashboard


def _label_variable(name: str, query: str) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(name)
        .label(name.title())
        .datasource(PROMETHEUS)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .hide(VariableHide.DONT_HIDE)
    )


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .datasource(PROMETHEUS)
        .expr(query.expression)
        .legend_format(query.legend)
        .range()
        .ref_id(chr(ord("A") + position))
        for position, query in enumerate(queries)
    ]
