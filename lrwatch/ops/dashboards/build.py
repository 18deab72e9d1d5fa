"""Dashboards → Grafana's JSON, by its own SDK. The only home of grafana_foundation_sdk, a development dependency:
what it makes is committed in dashboards/ and shipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from string import ascii_uppercase
from typing import Any, Final

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as make
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries, xychart
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import prometheus as asked
from grafana_foundation_sdk.models import xychart as xy

from lrwatch.metrics import COMMON, METRICS
from lrwatch.ops.dashboards.base import TAG, Annotation, Column, Dashboard, Mapping, Panel, Query, Step, Variable
from lrwatch.ops.render import RUNBOOKS, fill
from lrwatch.ops.thresholds import Values

SOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRAFANA: Final = common.DataSourceRef(type_val="grafana", uid="-- Grafana --")
TEXT: Final = "text"
LABELS: Final = sorted({"alertname", *COMMON, *(label for metric in METRICS for label in metric.labels)})
"""What could be a column of a table."""


def files(dashboards: Iterable[Dashboard], values: Values, runbooks: str = RUNBOOKS) -> dict[str, str]:
    """File name → text of every dashboard; ``runbooks``: where their links lead."""
    return {f"{d.uid}.json": text(d, values, runbooks) for d in dashboards}


def text(board: Dashboard, values: Values, runbooks: str = RUNBOOKS) -> str:
    """A dashboard as Grafana reads it."""
    return json.dumps(build(board, values, runbooks), cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"


def build(board: Dashboard, values: Values, runbooks: str = RUNBOOKS) -> model.Dashboard:
    """A dashboard as the SDK's object."""
    made = (
        make.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .timezone("utc")
        .time(board.since, "now")
        .refresh(board.refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            make.DatasourceVariable("datasource").label("Data source").type("prometheus")
            .description("The Prometheus that scrapes the trainers.")
        )
    )  # fmt: skip
    for variable in board.variables:
        made.with_variable(_variable(variable))
    made.with_variable(
        make.ConstantVariable("runbooks").label("Runbooks").value(runbooks.rstrip("/"))
        .description("Where the runbooks are read.")
    )
    made.link(
        make.DashboardLink("lrwatch").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
        .include_vars(True).keep_time(True).icon("external link").tooltip("The other dashboards, same run and time")
    )
    for annotation in board.annotations:
        made.annotation(_annotation(annotation))
    if board.annotations:
        made.annotation(_written())
    number = 0
    for panel in board.top:
        number += 1
        made.with_panel(_panel(panel, number, values))
    for row in board.rows:
        number += 1
        made.with_row(make.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            made.with_panel(_panel(panel, number, values))
    return made.build()


# -- what stands above the panels -----------------------------------------------------------------------


def _variable(variable: Variable) -> make.QueryVariable:
    made = (
        make.QueryVariable(variable.name)
        .label(variable.label)
        .description(variable.description)
        .query({"query": variable.query, "refId": f"Variable-{variable.name}"})
        .datasource(SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(variable.several)
        .include_all(variable.several)
    )
    if variable.every:
        made.all_value(variable.every)
    if variable.several:
        made.current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made


def _annotation(annotation: Annotation) -> make.AnnotationQuery:
    return (
        make.AnnotationQuery()
        .name(annotation.name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(annotation.colour)
        .expr(annotation.expr)
        .step("60s")
        .title_format(annotation.title)
        .text_format(annotation.text)
        .tag_keys("run_id,code")
        .use_value_for_time(annotation.at_value)
    )


def _written() -> make.AnnotationQuery:
    """What `lrwatch ops grafana apply --run` wrote of finished runs."""
    return (
        make.AnnotationQuery()
        .name("Finished runs")
        .datasource(GRAFANA)
        .enable(True)
        .icon_color("yellow")
        .target(make.AnnotationTarget().limit(500).match_any(False).tags([TAG, "$run"]).type("tags"))  # type: ignore[arg-type]
    )


# -- panels ---------------------------------------------------------------------------------------------


def _panel(panel: Panel, number: int, values: Values) -> Any:
    kinds: dict[str, Callable[[Panel], Any]] = {
        "stat": _stat, "timeseries": _lines, "table": _table, "heatmap": _heatmap, "xy": _xy
    }  # fmt: skip
    made = kinds[panel.kind](panel)
    made.id(number).title(panel.title).description(panel.description).datasource(SOURCE)
    made.unit(panel.unit).span(panel.width).height(panel.height)
    for ref, query in zip(ascii_uppercase, panel.queries, strict=False):
        made.with_target(_target(query, ref, panel.kind, values))
    if panel.empty:
        made.no_value(panel.empty)
    if panel.mappings:
        made.mappings([_mapped(panel.mappings)])
    if panel.recent:
        made.time_from(panel.recent)
    if panel.least is not None:
        made.min(panel.least)
    steps = panel.steps or (((TEXT if panel.kind == "stat" else "green"), None),)
    made.thresholds(make.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(_steps(steps, values)))
    return made


def _target(query: Query, ref: str, kind: str, values: Values) -> prometheus.Dataquery:
    made = prometheus.Dataquery().ref_id(ref).datasource(SOURCE).expr(fill(query.expr, values))
    made = made.editor_mode(asked.QueryEditorMode.CODE)
    if query.legend:
        made = made.legend_format(query.legend)
    if kind in ("stat", "table"):
        made = made.instant()
    else:
        made = made.range()
    formats = {"table": asked.PromQueryFormat.TABLE, "heatmap": asked.PromQueryFormat.HEATMAP}
    return made.format(formats.get(kind, asked.PromQueryFormat.TIME_SERIES))


def _steps(steps: Sequence[Step], values: Values) -> list[model.Threshold]:
    return [
        model.Threshold(color=colour, value=values[at] if isinstance(at, str) else at) for colour, at in steps
    ]


def _mapped(mappings: Sequence[Mapping]) -> model.ValueMap:
    return model.ValueMap(
        options={
            value: model.ValueMappingResult(text=shown, color=colour or None, index=i)
            for i, (value, shown, colour) in enumerate(mappings)
        }
    )


def _stat(panel: Panel) -> stat.Panel:
    modes = {"": common.BigValueTextMode.VALUE, "only": common.BigValueTextMode.NAME,
             "with value": common.BigValueTextMode.VALUE_AND_NAME}  # fmt: skip
    colour = common.BigValueColorMode.BACKGROUND if panel.mappings else common.BigValueColorMode.VALUE
    return (
        stat.Panel()
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(colour)
        .text_mode(modes[panel.names])
        .reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.NEVER)
        .legend(look.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
                .placement(common.LegendPlacement.BOTTOM).show_legend(True))
        .tooltip(look.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )  # fmt: skip
    if panel.log:
        made.scale_distribution(look.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10))
    if panel.soft:
        made.axis_soft_min(panel.soft[0]).axis_soft_max(panel.soft[1])
    if panel.steps:
        made.thresholds_style(look.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    for ref, query in zip(ascii_uppercase, panel.queries, strict=False):
        if query.style == "dashed":
            made.override_by_query(ref, [
                _set("custom.lineStyle", {"fill": "dash", "dash": [10, 6]}), _set("custom.lineWidth", 2),
            ])  # fmt: skip
        elif query.style == "marks":
            made.override_by_query(ref, [
                _set("custom.drawStyle", "points"), _set("custom.showPoints", "always"), _set("custom.pointSize", 6),
                _set("color", {"mode": "fixed", "fixedColor": "red"}),
            ])  # fmt: skip
    return made


def _heatmap(panel: Panel) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .calculate(False)
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
    )


def _xy(panel: Panel) -> xychart.Panel:
    return (
        xychart.Panel()
        .mapping(xy.SeriesMapping.MANUAL)
        .series([_Pair(*pair) for pair in panel.pairs])
        .with_transformation(
            model.DataTransformerConfig(id_val="joinByField", options={"byField": "Time", "mode": "outer"})
        )
    )


class _Pair(Builder[xy.XYSeriesConfig]):
    """The SDK's builder of a series wants a builder for each word in it."""

    def __init__(self, name: str, x: str, y: str):
        self._made = xy.XYSeriesConfig(
            name=xy.XychartXYSeriesConfigName(fixed=name),
            frame=xy.XychartXYSeriesConfigFrame(matcher=xy.MatcherConfig(id_val="byIndex", options=0)),
            x=xy.XychartXYSeriesConfigX(matcher=xy.MatcherConfig(id_val="byName", options=x)),
            y=xy.XychartXYSeriesConfigY(matcher=xy.MatcherConfig(id_val="byName", options=y)),
        )

    def build(self) -> xy.XYSeriesConfig:
        return self._made


def _table(panel: Panel) -> table.Panel:
    made = table.Panel().show_header(True).cell_height(common.TableCellHeight.SM).filterable(True)
    if panel.join:
        made.with_transformation(
            model.DataTransformerConfig(id_val="joinByField", options={"byField": panel.join, "mode": "outer"})
        )
    times = ["Time", *(f"Time {i + 1}" for i in range(len(panel.queries)))]
    values = ["Value", *(f"Value #{ref}" for ref, _ in zip(ascii_uppercase, panel.queries, strict=False))]
    shown = [column.field for column in panel.columns]
    made.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {name: True for name in (*times, *values, *LABELS) if name not in shown},
                "indexByName": {name: i for i, name in enumerate(shown)},
                "renameByName": {column.field: column.title for column in panel.columns},
            },
        )
    )
    for column in panel.columns:
        if properties := list(_properties(column)):
            made.override_by_name(column.title, properties)
    return made


def _properties(column: Column) -> Iterator[model.DynamicConfigValue]:
    if column.unit:
        yield _set("unit", column.unit)
    if column.width:
        yield _set("custom.width", column.width)
    if column.mappings:
        yield _set("mappings", [_mapped(column.mappings)])
        yield _set("custom.cellOptions", {"type": "color-text"})
    if column.link:
        title, url = column.link
        yield _set("links", [{"title": title, "url": url}])


def _set(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)
