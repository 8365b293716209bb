"""The panels in a page of their own, for where no Grafana is at hand."""

import re
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from data.artifacts.errors import UserError
from data.artifacts.json_text import json_text
from data.cluster.loopback import is_from_here
from serve.operations.monitoring.panels import DASHBOARDS
from serve.operations.monitoring.prometheus import Prometheus, PrometheusUnavailable

HTML = Path(__file__).with_name("page.html")


class PortTaken(UserError, OSError):
    """Another process listens on the port of the page."""


def page_server(prometheus: Prometheus, port: int, minutes: int) -> ThreadingHTTPServer:
    """Returns a server of the page on loopback; `serve_forever` runs it.

    Raises:
        PortTaken: another process listens on the port.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, prometheus, minutes))
    except OSError as e:
        raise PortTaken(f"watch.port: 127.0.0.1:{port} is in use ({e.strerror}); pass watch.port=...") from e


def content(prometheus: Prometheus, dashboard: str, minutes: int) -> dict[str, Any]:
    """Returns what the page shows of one dashboard: its panels with their series, and the alerts that are raised."""
    panels = [
        {
            "title": panel.title,
            "unit": panel.unit,
            "says": panel.says,
            "series": [
                {"name": legend(template, series["metric"]), "values": series["values"]}
                for template, query in panel.queries.items()
                for series in prometheus.series(query, minutes)
            ],
        }
        for panel in DASHBOARDS[dashboard]
    ]
    alerts = [
        {"name": alert["labels"]["alertname"], "state": alert["state"], **alert["annotations"]}
        for alert in prometheus.get("alerts")["alerts"]
    ]
    return {"panels": panels, "alerts": alerts, "dashboards": list(DASHBOARDS)}


def legend(template: str, labels: dict[str, str]) -> str:
    """Returns the name of a series: Grafana's template, such as `{{route}}`, with the values of its labels."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


class _Handler(BaseHTTPRequestHandler):
    """Answers the page and its content."""

    def __init__(self, prometheus: Prometheus, minutes: int, *arguments: Any) -> None:
        self._prometheus, self._minutes = prometheus, minutes
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answers a request; web sites of elsewhere, which a browser here may show, are not told anything."""
        if not is_from_here(self.headers.get("Host"), self.headers.get("Origin")):
            self._answer(403, "text/plain", b"this page is for this machine: open it by a name of loopback")
            return
        place = urlsplit(self.path)
        if place.path == "/":
            self._answer(200, "text/html; charset=utf-8", HTML.read_bytes())
            return
        wanted = parse_qs(place.query).get("dashboard", [next(iter(DASHBOARDS))])[0]
        if place.path != "/content" or wanted not in DASHBOARDS:
            self._answer(404, "text/plain", b"not here")
            return
        try:
            shown = content(self._prometheus, wanted, self._minutes)
        except PrometheusUnavailable as e:
            self._answer(502, "text/plain", str(e).encode())
        else:
            self._answer(200, "application/json", json_text(shown).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing of requests."""
