"""The vocabulary of the dashboards: each kind of panel with what all of its kind have in common, and how panels make a dashboard.

Grafana's own builders (grafana-foundation-sdk) know every option; here are the few that we use. Every panel has a title, a unit, and a
description: it is read by whoever the alarm woke up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "yellow", "orange", "red", "blue", "purple"
SEVERITY = {"low": BLUE, "medium": YELLOW, "high": ORANGE, "critical": RED}
SIDE = {"champion": BLUE, "challenger": PURPLE}
HEIGHT = 8
LABEL_VALUES = 1
"""As Grafana's Prometheus numbers its kinds of queries for variables."""
SOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
Limits = Sequence[tuple[float, str]]
"""(value, colour): from this value on, this colour; below the first, green."""


P = TypeVar("P", bargauge.Panel, stat.Panel, statetimeline.Panel, timeseries.Panel)


class Ask(NamedTuple):
    """A query of a panel."""

    expr: str
    legend: str = ""
    """`{{partition}}` stands for that label."""
    dashed: bool = False
    """A limit or a promise, not a measurement."""


def graph(
    title: str, unit: str, says: str, *asks: Ask, limits: Limits = (), stacked: bool = False, log: bool = False, width: int = 12
) -> timeseries.Panel:
    """Lines over time; limits are drawn across. Some names have their colours everywhere."""
    panel = timeseries.Panel().line_width(1).fill_opacity(25 if stacked else 6).show_points(kinds.VisibilityMode.NEVER)
    if not log:
        panel.min(0)
    panel.span_nulls(False)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A"))
    if log:
        panel.scale_distribution(common.ScaleDistributionConfig().type(kinds.ScaleDistribution.LOG).log(10))
    if limits:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
    for ask in asks:
        if ask.dashed:
            set_apart(panel, ask.legend, {"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom.fillOpacity": 0})
        for name in [*SEVERITY] if ask.legend == "{{severity}}" else {ask.legend} & {*SIDE}:
            set_apart(panel, name, {"color": {"mode": "fixed", "fixedColor": (SEVERITY | SIDE)[name]}})
    return finished(panel.span(width).height(HEIGHT), title, unit, says, asks, limits)


def set_apart(panel: timeseries.Panel, name: str, values: Mapping[str, object]) -> None:
    """Options of one series alone, by its name."""
    panel.override_by_name(name, [models.DynamicConfigValue(option, value) for option, value in values.items()])


def number(
    title: str,
    unit: str,
    says: str,
    *asks: Ask,
    limits: Limits = (),
    words: Mapping[int, tuple[str, str]] | None = None,
    width: int = 4,
    height: int = 4,
) -> stat.Panel:
    """A number as it is now, on its colour; `words` puts (text, colour) for a value."""
    panel = stat.Panel().graph_mode(kinds.BigValueGraphMode.NONE).reduce_options(now()).no_value("none")
    panel.color_mode(kinds.BigValueColorMode.BACKGROUND if limits or words else kinds.BigValueColorMode.VALUE)
    panel.text_mode(kinds.BigValueTextMode.VALUE if len(asks) == 1 else kinds.BigValueTextMode.VALUE_AND_NAME)
    if words:
        panel.mappings([mapping(words)])
    plain = finished(panel.span(width).height(height), title, unit, says, asks, limits, instant=True)
    return plain if limits or words else plain.thresholds(steps((), BLUE))


def bars(title: str, unit: str, says: str, *asks: Ask, limits: Limits = (), top: float = 1.0, width: int = 12) -> bargauge.Panel:
    """Numbers as they are now, one below the other, the bar full at `top`."""
    panel = bargauge.Panel().orientation(kinds.VizOrientation.HORIZONTAL).display_mode(kinds.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(now()).min(0).max(top).show_unfilled(True)
    return finished(panel.span(width).height(HEIGHT), title, unit, says, asks, limits, instant=True)


def bands(title: str, says: str, *asks: Ask, words: Mapping[int, tuple[str, str]], width: int = 24, height: int = 6) -> statetimeline.Panel:
    """A row for each series, coloured by state over time."""
    panel = statetimeline.Panel().mappings([mapping(words)]).show_value(kinds.VisibilityMode.NEVER).merge_values(True)
    panel.row_height(0.8).fill_opacity(80).line_width(0).color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.legend(
        common.VizLegendOptions()
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    return finished(panel.span(width).height(height), title, "none", says, asks)


def density(title: str, unit: str, says: str, ask: Ask, width: int = 12) -> heatmap.Panel:
    """A classic histogram over time; `ask` gives the increase of its buckets by `le`."""
    panel = heatmap.Panel().calculate(False).hide_legend().cell_gap(1)
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(heat.HeatmapColorMode.SCHEME)
        .scheme("Blues")
        .scale(heat.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.3)
        .steps(64)
        .reverse(False)
    )
    panel.y_axis(heatmap.YAxisConfig().unit(unit))
    panel.span(width).height(HEIGHT).title(title).description(says).datasource(SOURCE).unit(unit)
    return panel.with_target(query(ask, "A").format(PromQueryFormat.HEATMAP).range())


def listing(title: str, says: str, *asks: Ask, shown: Sequence[str], width: int = 12) -> table.Panel:
    """Labels as a table: the columns `shown`, in that order."""
    panel = table.Panel().show_header(True).span(width).height(HEIGHT)
    panel.title(title).description(says).datasource(SOURCE).unit("none")
    for n, ask in enumerate(asks):
        panel.with_target(query(ask, chr(ord("A") + n)).format(PromQueryFormat.TABLE).instant())
    return panel.with_transformation(
        models.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(shown)}})
    ).with_transformation(
        models.DataTransformerConfig(id_val="organize", options={"indexByName": {name: n for n, name in enumerate(shown)}})
    )


def finished(panel: P, title: str, unit: str, says: str, asks: Sequence[Ask], limits: Limits = (), instant: bool = False) -> P:
    """What panels of every kind have."""
    panel.title(title).description(says).unit(unit).datasource(SOURCE).thresholds(steps(limits))
    for n, ask in enumerate(asks):
        target = query(ask, chr(ord("A") + n))
        panel.with_target(target.instant() if instant else target.range())
    return panel


def query(ask: Ask, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(ask.expr).legend_format(ask.legend or "__auto").ref_id(ref).datasource(SOURCE)


def steps(limits: Limits, below: str = GREEN) -> dashboard.ThresholdsConfig:
    marks = [models.Threshold(None, below), *(models.Threshold(value, colour) for value, colour in limits)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(marks)


def mapping(words: Mapping[int, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        {str(value): models.ValueMappingResult(text=text, color=colour, index=n) for n, (value, (text, colour)) in enumerate(words.items())}
    )


def now() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().values(False).calcs(["lastNotNull"])


def variable(name: str, label: str, says: str, asked: str, everything: str = "") -> dashboard.QueryVariable:
    """A choice of label values, by default all of them: as a list, or, where that may be long, as the pattern `everything`."""
    chosen = (
        dashboard.QueryVariable(name)
        .label(label)
        .description(says)
        .datasource(SOURCE)
        .query({"qryType": LABEL_VALUES, "query": asked, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .definition(asked)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NUMERICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
    return chosen.all_value(everything) if everything else chosen


def source() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Prometheus").description("Where the figures are.").type("prometheus")


def assembled(
    uid: str, title: str, says: str, since: str, choices: Iterable[dashboard.QueryVariable], rows: Iterable[tuple[str, Sequence[Any]]]
) -> models.Dashboard:
    """Rows of (title, panels), from the top; shows the time from `since` on, in Grafana's words."""
    whole = dashboard.Dashboard(title).uid(uid).description(says).tags(["detector"]).timezone("browser").editable()
    whole.time(since, "now").refresh("30s").tooltip(models.DashboardCursorSync.CROSSHAIR).with_variable(source())
    for choice in choices:
        whole.with_variable(choice)
    whole.link(
        dashboard.DashboardLink("The detector's dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags(["detector"])
        .include_vars(True)
        .keep_time(True)
    )
    number = 0
    for name, panels in rows:
        number += 1
        whole.with_row(dashboard.Row(name).id(number))
        for panel in panels:
            number += 1
            whole.with_panel(panel.id(number))
    return whole.build()
