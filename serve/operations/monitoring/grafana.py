"""Grafana's dashboards, as JSON values, of the panels in panels.py."""

from collections.abc import Sequence
from typing import Any

from serve.operations.monitoring.panels import DASHBOARDS, Panel

WIDTH, HEIGHT, COLUMNS = 12, 8, 2
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboards() -> dict[str, dict[str, Any]]:
    """Returns every dashboard by the name of its file."""
    return {_slug(title): dashboard(title, panels) for title, panels in DASHBOARDS.items()}


def dashboard(title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """Returns one dashboard, whose data source is chosen on the page."""
    return {
        "uid": f"twotower-{_slug(title)}",
        "title": f"Two-tower: {title}",
        "tags": ["twotower"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "annotations": {"list": []},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "datasource": DATASOURCE}
            for place, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def _slug(title: str) -> str:
    return "-".join(title.lower().split())
