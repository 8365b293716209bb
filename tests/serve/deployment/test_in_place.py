"""An endpoint that runs by a Serve config is changed in place, by limits and by values, without a failed request."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from ray import serve
from ray.serve.schema import ServeDeploySchema

from conf.schema import Config
from data.artifacts.errors import ConfigError
from data.cluster.ray_compatibility.core import serve_client
from serve import run
from serve.deployment.deploying import deploy, endpoint_runs
from serve.deployment.endpoint import running_endpoint
from serve.deployment.in_place.running import declared_applications
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


def test_values_that_were_not_typed_and_applications_of_others_stay(
    tiny: Config, release: Release, free_port: int
) -> None:
    config = replace(tiny, serve=replace(tiny.serve, port=free_port, ingress=ScaleConfig(num_cpus=0.1)))
    with running_endpoint(config, declared=True):
        applications = declared_applications()
        theirs = applications["guard"] | {"name": "theirs"}
        wanted = {"applications": [*applications.values(), theirs]}
        serve_client().deploy_apps(ServeDeploySchema.model_validate(wanted))
        with pytest.raises(ConfigError, match=r"events\.state_ms=5000.*replace=true") as refused:
            run.task(tiny)
        assert f"storage.root={tiny.storage.root}" in str(refused.value)
        assert declared_applications() == applications | {"theirs": declared_applications()["theirs"]}
        more = replace(config, serve=replace(config.serve, timeout_ms=1234), replace=True)
        assert run.task(more) == {"changed": True}
        after = declared_applications()
        assert after["recommender"]["args"]["values"]["serve"]["timeout_ms"] == 1234
        assert after["theirs"]["args"] == theirs["args"]
        assert serve.status().applications["theirs"].status.value in ("RUNNING", "DEPLOYING")


def test_an_endpoint_whose_values_nobody_knows_is_not_changed(tiny: Config, release: Release, free_port: int) -> None:
    """Such as that of serve.demo, which the Ray of this machine may be."""
    config = replace(tiny, serve=replace(tiny.serve, port=free_port, ingress=ScaleConfig(num_cpus=0.1)))
    with running_endpoint(config), pytest.raises(ConfigError, match=r"that of serve\.demo.*replace=true"):
        run.task(config)
