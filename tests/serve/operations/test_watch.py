"""A real Prometheus scrapes a live endpoint and a training: each panel has data, and no metric of a rule is unknown."""

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import ray

from conf.schema import Config
from data.artifacts.folders import Folder
from data.cluster.machine import choose_proxy
from data.dataset.prepared import PreparedDataset
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.events.config import EventsConfig
from serve.events.decisions.config import DecisionsConfig
from serve.operations.monitoring.config import WatchConfig
from serve.operations.monitoring.page import content, page_server
from serve.operations.monitoring.panels import DASHBOARDS
from serve.operations.monitoring.prometheus import Prometheus, PrometheusUnavailable, running_prometheus
from serve.operations.objectives import Objectives
from serve.releases.release import Release
from tests.benchmarks.harness.servers import free_port
from tests.reporting.skipping import skip
from tests.serve.operations.test_monitoring import EXPRESSIONS, metrics
from tests.serve.waiting import PATIENT
from towers.training.fit import train

PATIENCE_S = 120
LIMIT = 500
"""Events that wait at most, and events of a request."""


def test_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = WatchConfig(folder=str(tmp_path), discovery=str(tmp_path / "none.json"))
    with pytest.raises(PrometheusUnavailable, match=r"watch\.discovery: .*none\.json does not exist|apt-get install"):
        running_prometheus(nowhere, Objectives()).__enter__()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrometheusUnavailable, match="apt-get install prometheus"):
        running_prometheus(nowhere, Objectives()).__enter__()


def test_another_prometheus_on_the_port_does_not_answer_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's package starts one on port 9090, which knows nothing of the endpoint."""
    (tmp_path / "prometheus").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "prometheus").chmod(0o755)
    (tmp_path / "found.json").write_text("[]")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    other = ThreadingHTTPServer(("127.0.0.1", 0), Targets)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    config = WatchConfig(
        folder=str(tmp_path), discovery=str(tmp_path / "found.json"), prometheus_port=other.server_port
    )
    try:
        with (
            pytest.raises(
                PrometheusUnavailable, match=rf"watch\.prometheus_port: 127\.0\.0\.1:{other.server_port} is in use"
            ),
            running_prometheus(config, Objectives()),
        ):
            raise AssertionError("the other one was taken for it")
    finally:
        other.shutdown()
        other.server_close()


class Targets(BaseHTTPRequestHandler):
    """Answers as a Prometheus without targets does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "success", "data": {}}')


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "localhost.evil.example"}, {"Origin": "https://evil.example"}]
)
def test_the_page_tells_web_sites_of_elsewhere_nothing(headers: dict[str, str]) -> None:
    server = page_server(Prometheus("http://127.0.0.1:1"), free_port(), minutes=15)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://localhost:{server.server_port}/"
        assert httpx.get(address).status_code == 200
        for path in ("", "content"):
            assert httpx.get(address + path, headers=headers).status_code == 403
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def endpoint(tiny: Config, release: Release, own_events: EventsConfig, free_port: int) -> Iterator[str]:
    """An endpoint with all that has metrics: a guard, an approximate index, and room for few events and decisions."""
    index = replace(tiny.index, exact_up_to=0, monitored_share=1.0)
    served = replace(tiny.serve, port=free_port, **PATIENT, ingress=ScaleConfig(num_cpus=0.1))
    events = replace(
        own_events, state_ms=1000, max_waiting=LIMIT, decisions=DecisionsConfig(every_s=0.5, max_waiting=1)
    )
    with running_endpoint(replace(tiny, serve=served, events=events, index=index), declared=True) as address:
        yield address


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        skip("there is no Prometheus", "apt-get install prometheus, then the same again")
    folder = tmp_path_factory.mktemp("watch")
    ports = [node["MetricsExportPort"] for node in ray.nodes()]
    (folder / "discovery.json").write_text(json.dumps([{"targets": [f"127.0.0.1:{port}" for port in ports]}]))
    config = WatchConfig(
        folder=str(folder), port=free_port(), prometheus_port=free_port(), every_s=2,
        discovery=str(folder / "discovery.json"),
    )  # fmt: skip
    with running_prometheus(config, Objectives()) as running:
        yield running


@pytest.mark.slow
def test_every_panel_has_data_and_every_metric_is_exported(
    prometheus: Prometheus, endpoint: str, tiny: Config, dataset: PreparedDataset, tmp_path: Path
) -> None:
    storage, beside_the_endpoint = replace(tiny.storage, root=str(tmp_path)), replace(tiny.train, cpus_per_worker=0.5)
    elsewhere = replace(tiny, seed=7, storage=storage, train=beside_the_endpoint)  # Ray Data's tasks need a whole CPU
    train(elsewhere, dataset, Folder.of(str(tmp_path)))
    make_an_error(endpoint)
    without_haproxy = not choose_proxy().haproxy
    lacking = {"Answers by HAProxy, per second"} if without_haproxy else set()
    named = {name for expression in EXPRESSIONS for name in metrics(expression)}
    named -= {"haproxy_frontend_http_responses_total"} if without_haproxy else set()
    ends = time.monotonic() + PATIENCE_S
    while missing := {panel for title in DASHBOARDS for panel in _empty(prometheus, title)} - lacking | (
        named - set(prometheus.get("label/__name__/values"))
    ):
        assert time.monotonic() < ends, missing
        for number in range(20):
            httpx.post(f"{endpoint}/v1/recommend", json={"user_id": f"u{number:05d}"}, timeout=30)


def make_an_error(endpoint: str) -> None:
    """Sends more events at a time than wait, of which some are refused with 503."""

    def send(number: int) -> int:
        events = [
            {"event_id": f"e{number}-{each}", "user_id": "u00001", "item_id": "i00001", "type": "click"}
            for each in range(LIMIT)
        ]
        return httpx.post(f"{endpoint}/v1/events", json={"events": events}, timeout=30).status_code

    with ThreadPoolExecutor(8) as senders:
        for first in range(0, 80, 8):
            if httpx.codes.SERVICE_UNAVAILABLE in senders.map(send, range(first, first + 8)):
                return
    raise AssertionError("no request with events was refused")


def _empty(prometheus: Prometheus, title: str) -> list[str]:
    return [panel["title"] for panel in content(prometheus, title, minutes=15)["panels"] if not panel["series"]]


@pytest.mark.slow
def test_the_page_shows_them(prometheus: Prometheus) -> None:
    server = page_server(prometheus, free_port(), minutes=15)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with urllib.request.urlopen(address) as answer:
        assert b"Two-tower" in answer.read()
    shown = httpx.get(f"{address}/content", params={"dashboard": "Cluster"}).json()
    assert shown["dashboards"] == list(DASHBOARDS)
    assert "CPU" in [panel["title"] for panel in shown["panels"]]
    assert httpx.get(f"{address}/content", params={"dashboard": "Other"}).status_code == 404
    server.shutdown()
