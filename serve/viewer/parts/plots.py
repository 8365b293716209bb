"""Plots of the views, by ECharts, which NiceGUI brings. Each says in words what it shows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

COLORS = ["#3b7fc4", "#d07a34", "#3f9a63", "#a05fb8", "#a08f2f", "#45929b", "#c4575b", "#7a808c"]
"""Colours that can be told apart on a light and on a dark background."""

GREY = "#8a8f99"
"""Colour of axes and texts, legible on a light and on a dark background."""


MARKS: dict[str, dict[str, Any]] = {
    "chosen": {
        "symbol": "diamond", "symbolSize": 14,
        "itemStyle": {"color": "#e0393c", "borderColor": "#fff", "borderWidth": 1},
    },
    "history": {
        "symbol": "triangle", "symbolSize": 11,
        "itemStyle": {"color": "#f0b400", "borderColor": "#222", "borderWidth": 1},
    },
    "user": {
        "symbol": "pin", "symbolSize": 30,
        "itemStyle": {"color": "#a12fc0", "borderColor": "#fff", "borderWidth": 1},
    },
}  # fmt: skip
"""How groups of points look that stand out from the others, by their names."""


def bars(title: str, names: Sequence[str], series: Mapping[str, Sequence[float | None]], unit: str = "") -> None:
    """Adds upright bars: one group for each name, one bar in it for each series."""
    option = _option(title, list(series)) | {
        "xAxis": {"type": "category", "data": list(names), "axisLabel": {"color": GREY, "interval": 0, "rotate": 30}},
        "yAxis": _axis(unit),
        "series": [{"type": "bar", "name": name, "data": list(values)} for name, values in series.items()],
    }
    _plot(option, title)


def lines(
    title: str, series: Mapping[str, Sequence[tuple[float, float | None]]], unit: str = "", by_time: bool = True
) -> ui.echart:
    """Adds lines; None is a gap.

    Args:
        series: points of unix seconds and value or, unless `by_time`, of any number and value.
    """
    option = _option(title, list(series)) | {
        "xAxis": {"type": "time", "axisLabel": {"color": GREY, "hideOverlap": True}}
        if by_time
        else _axis("") | {"scale": True, "minInterval": 1},
        "yAxis": _axis(unit) | {"scale": not by_time},
        "series": _line_series(series, 1000 if by_time else 1),
    }
    return _plot(option, title)


def set_lines(plot: ui.echart, series: Mapping[str, Sequence[tuple[float, float | None]]]) -> None:
    """Shows other points in a plot that `lines` added."""
    plot.options["series"] = _line_series(series)
    plot.options["legend"] |= {"data": list(series), "show": len(series) > 1}
    plot.options["grid"]["bottom"] = _legend_height(list(series))
    plot.update()


Points = Mapping[str, Sequence[Mapping[str, Any]]]
"""ECharts' items, with `value` [x, y] and `name`, by the name of their group."""


def points(
    title: str, groups: Points, marked: Points | None = None, x: str = "", y: str = "", tall: bool = False
) -> ui.echart:
    """Adds points in a plane that can be zoomed into and moved.

    Args:
        groups: points, each group in its own colour.
        marked: points that stand out, by names of MARKS; no group has such a name.
        x, y: the names of the axes.
    """
    marked = marked or {}
    option = _option(title, [*groups, *marked]) | {
        "tooltip": {"trigger": "item", "renderMode": "richText", "confine": True, "formatter": "{b}"},
        "xAxis": _axis("") | {"scale": True, "name": x, "nameLocation": "middle", "nameGap": 24},
        "yAxis": _axis(y) | {"scale": True},
        "dataZoom": [{"type": "inside", "xAxisIndex": 0}, {"type": "inside", "yAxisIndex": 0}],
        "series": [
            {"type": "scatter", "name": name, "data": list(items), "symbolSize": 6} | marks.get(name, {})
            for of, marks in ((groups, {}), (marked, MARKS))
            for name, items in of.items()
        ],
    }
    option["grid"] |= {"top": 52 if y else 36, "bottom": option["grid"]["bottom"] + (20 if x else 0)}
    return _plot(option, title, tall)


def _line_series(
    series: Mapping[str, Sequence[tuple[float, float | None]]], scale: float = 1000
) -> list[dict[str, Any]]:
    return [
        {
            "type": "line", "name": name, "showSymbol": len(values) < 3,
            "data": [[scale * at, value] for at, value in values],
        }
        for name, values in series.items()
    ]  # fmt: skip


def _option(title: str, names: list[str]) -> dict[str, Any]:
    return {
        "animation": False,
        "color": COLORS,
        "textStyle": {"color": GREY},
        "title": {"text": title, "left": 0, "textStyle": {"fontSize": 13, "fontWeight": 600, "color": GREY}},
        "legend": {
            "data": names, "bottom": 0, "textStyle": {"color": GREY}, "show": len(names) > 1,
        },
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": _legend_height(names), "containLabel": True},
    }  # fmt: skip


def _legend_height(names: Sequence[str]) -> int:
    """Pixels for the legend in a plot of 350 pixels' width."""
    return 8 if len(names) < 2 else 16 + 20 * math.ceil(sum(len(name) + 7 for name in names) / 50)


def _axis(unit: str) -> dict[str, Any]:
    # a function that ECharts calls is given as text of JavaScript; no part of it comes from data
    return {
        "type": "value", "name": unit, "nameTextStyle": {"color": GREY, "align": "left"}, "axisLabel": {"color": GREY},
        "splitLine": {"lineStyle": {"color": GREY, "opacity": 0.25}},
    }  # fmt: skip


def _plot(option: dict[str, Any], title: str, tall: bool = False) -> ui.echart:
    plot = ui.echart(option).classes("plot tall" if tall else "plot")
    plot.props("role=img")
    plot.props["aria-label"] = title
    return plot
