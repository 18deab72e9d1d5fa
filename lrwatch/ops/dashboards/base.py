"""Dashboards as data: what a panel asks and how it is read. ``build`` makes Grafana's JSON of it.

Expressions name thresholds as ``<name>``, like rules do; ``$name`` is a variable of the dashboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TAG: Final = "lrwatch"
"""On every dashboard: the links between them go by it, and only what carries it is ours."""
PREFIX: Final = "lrwatch-"
"""Every uid begins with it."""
RUNBOOKS: Final = "$runbooks"

Kind = Literal["stat", "timeseries", "table", "heatmap", "xy"]
Style = Literal["line", "dashed", "marks"]
"""``dashed``: what was expected · ``marks``: red points only, what is wrong."""
Step = tuple[str, str | float | None]
"""Colour, and from which value on: a number, the name of a threshold, or None for the lowest."""
Mapping = tuple[str, str, str]
"""Value as text, what is shown instead, its colour (empty: none)."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression. ``legend``: as Grafana writes it, ``{{rank}}`` being a label."""

    expr: str
    legend: str = ""
    style: Style = "line"


@dataclass(frozen=True)
class Column:
    """A column of a table: ``field`` is a label, or ``Value`` (``Value #A`` of the first of several queries).

    ``link``: where a click leads, as (title, URL).
    """

    field: str
    title: str
    unit: str = ""
    link: tuple[str, str] | None = None
    width: int = 0
    mappings: tuple[Mapping, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        width, height: in Grafana's grid, 24 wide. steps: colours by value; without them every series has its own.
        empty: what it means when there is nothing to show, and so may be; "" when that would be a fault.
        recent: a window of its own, back from the end of the dashboard's. log: logarithmic axis.
        least: where the axis begins. soft: what the axis shows at least, so that rounding errors are no mountains.
        join: the label by which the rows of a table's queries are one row.
        names: whether a ``stat`` shows its legend. pairs: of an ``xy`` chart: (name, x, y), by their legends.
    """

    kind: Kind
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    height: int = 8
    steps: tuple[Step, ...] = ()
    mappings: tuple[Mapping, ...] = ()
    columns: tuple[Column, ...] = ()
    empty: str = ""
    recent: str = ""
    log: bool = False
    least: float | None = None
    soft: tuple[float, float] | None = None
    join: str = ""
    names: Literal["", "only", "with value"] = ""
    pairs: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """Panels under a heading; they flow from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """Something that the reader chooses.

    Attributes:
        query: label_values(…). several: more than one, or All of them.
        every: what All is written as, instead of all names; also holds where there is no such label.
    """

    name: str
    label: str
    description: str
    query: str
    several: bool = False
    every: str = ""


@dataclass(frozen=True)
class Annotation:
    """Marks over the panels. ``at_value``: the value of the series is the time, in milliseconds."""

    name: str
    expr: str
    title: str
    text: str
    colour: str
    at_value: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; ``top`` are the panels above the first heading."""

    name: str
    title: str
    description: str
    since: str
    refresh: str
    variables: tuple[Variable, ...]
    top: tuple[Panel, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()

    @property
    def uid(self) -> str:
        return PREFIX + self.name

    def panels(self) -> tuple[Panel, ...]:
        """All of them, in the order in which they are read."""
        return (*self.top, *(panel for row in self.rows for panel in row.panels))
