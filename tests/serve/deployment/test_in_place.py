"""An endpoint that runs by a Serve config is changed in place, by limits and by values, without a failed request."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from ray import serve

from conf.schema import Config
from serve.deployment.deploying import deploy, endpoint_runs
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.releases.release import Release
from tests.benchmarks.harness.servers import replicas

pytestmark = pytest.mark.slow


@contextmanager
def asked(address: str, user_id: str) -> Iterator[Counter[int]]:
    """The statuses of requests that are sent one after the other as long as the block lasts."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=address, timeout=30) as client:
            while not stop.is_set():
                statuses[client.post("/v1/recommend", json={"user_id": user_id}).status_code] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield statuses
    finally:
        stop.set()
        asking.join()


def pids() -> set[int]:
    return {replica.pid for replica in replicas("Recommender")}


def test_limits_and_values_change_in_place(tiny: Config, release: Release, free_port: int, known_user: str) -> None:
    served = replace(tiny.serve, port=free_port, timeout_ms=1500, ingress=ScaleConfig(num_cpus=0.1))
    config = replace(tiny, serve=served)
    assert not endpoint_runs()
    with running_endpoint(config, declared=True) as address, asked(address, known_user) as statuses:
        assert endpoint_runs()
        assert set(serve.status().applications) == {"recommender", "guard", "compaction"}
        before = pids()
        more = ScaleConfig(num_cpus=0.1, max_replicas=3, max_queued_requests=20)
        deploy(replace(config, serve=replace(served, ingress=more)))
        assert pids() == before, "a limit changes without a new replica"
        deploy(replace(config, serve=replace(served, ingress=more, timeout_ms=1200)))
        assert not pids() & before, "another value comes with new replicas"
        assert httpx.get(f"{address}/readyz").json()["missing"] == []
    assert statuses[200] > 20
    assert set(statuses) == {200}
    assert not endpoint_runs()
