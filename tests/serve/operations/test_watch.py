"""A real Prometheus scrapes a live endpoint and a training: each panel has data, and no metric of a rule is unknown."""

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import ray

from conf.schema import Config
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from serve.operations.monitoring.config import WatchConfig
from serve.operations.monitoring.page import content, page_server
from serve.operations.monitoring.panels import DASHBOARDS
from serve.operations.monitoring.prometheus import Prometheus, PrometheusUnavailable, running_prometheus
from serve.operations.objectives import Objectives
from tests.benchmarks.harness.servers import free_port
from tests.reporting.skipping import skip
from tests.serve.operations.test_monitoring import EXPRESSIONS, metrics
from towers.training.fit import train

NOT_ON_THIS_ENDPOINT = {
    "ray_twotower_index_recall_sum",  # of approximate indexes
    "ray_twotower_index_recall_count",
    "ray_twotower_errors_total",  # where there are errors
    "ray_twotower_guard_rollbacks",  # of a guard
}
PATIENCE_S = 120


def test_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = WatchConfig(folder=str(tmp_path), discovery=str(tmp_path / "none.json"))
    with pytest.raises(PrometheusUnavailable, match=r"watch\.discovery: .*none\.json does not exist|apt-get install"):
        running_prometheus(nowhere, Objectives()).__enter__()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrometheusUnavailable, match="apt-get install prometheus"):
        running_prometheus(nowhere, Objectives()).__enter__()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, fused: tuple[str, str]) -> Iterator[Prometheus]:
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
def test_every_panel_has_data(
    prometheus: Prometheus, fused: tuple[str, str], tiny: Config, dataset: PreparedDataset, tmp_path: Path
) -> None:
    storage, beside_the_endpoint = replace(tiny.storage, root=str(tmp_path)), replace(tiny.train, cpus_per_worker=0.5)
    elsewhere = replace(tiny, seed=7, storage=storage, train=beside_the_endpoint)  # Ray Data's tasks need a whole CPU
    train(elsewhere, dataset, Folder.of(str(tmp_path)))
    lacking = set() if _behind_haproxy() else {"Answers by HAProxy, per second"}
    ends = time.monotonic() + PATIENCE_S
    while empty := {panel for title in DASHBOARDS for panel in _empty(prometheus, title)} - lacking:
        assert time.monotonic() < ends, empty
        for number in range(20):
            httpx.post(f"{fused[0]}/v1/recommend", json={"user_id": f"u{number:05d}"}, timeout=30)
    known = set(prometheus.get("label/__name__/values"))
    named = {name for expression in EXPRESSIONS for name in metrics(expression)}
    absent = NOT_ON_THIS_ENDPOINT | ({"haproxy_frontend_http_responses_total"} if lacking else set())
    assert named - known <= absent


def _behind_haproxy() -> bool:
    try:
        return httpx.get("http://127.0.0.1:9101/metrics").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


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
