"""A Serve config that was written by hand is an endpoint only where it says who may ask, or nobody else reaches it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, ServeDeploySchema

from conf.schema import Config
from data.cluster.ray_compatibility.core import serve_client
from data.cluster.ray_compatibility.shutdown import stop_serve
from serve.deployment.declared import arguments, values_of
from serve.deployment.deployments import build_application
from serve.deployment.replica import ReplicaSettings
from serve.releases.release import Release
from tests.benchmarks.harness import servers

pytestmark = pytest.mark.slow

ENDS = {ApplicationStatus.RUNNING, ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY}


@contextmanager
def proxies_on(host: str) -> Iterator[int]:
    """Ray Serve with its proxies on a host as long as the block lasts; yields the port."""
    port = servers.free_port()
    serve.start(http_options=HTTPOptions(host=host, port=port))
    try:
        yield port
    finally:
        stop_serve()


def deployed(tiny: Config, port: int, host: str) -> ApplicationStatusOverview:
    """How the example of `serve.deployment.application` ends, which names no `auth`."""
    values = arguments(tiny) | {"events": values_of(tiny.events.on_this_machine())}
    del values["auth"]
    application = {
        "name": "recommender",
        "import_path": "serve.deployment.application:app",
        "args": {"overrides": ["guard.enabled=false"], "values": values},
        "deployments": [{"name": "Recommender", "ray_actor_options": {"num_cpus": 0.1}}],
    }
    config = {"http_options": {"host": host, "port": port}, "applications": [application]}
    serve_client().deploy_apps(ServeDeploySchema.model_validate(config))
    deadline = time.monotonic() + 240
    while (found := serve.status().applications.get("recommender")) is None or found.status not in ENDS:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_it_is_not_built_where_others_reach_it_and_nobody_is_asked(ray_session: None, tiny: Config) -> None:
    with proxies_on("0.0.0.0") as port:
        found = deployed(tiny, port, "0.0.0.0")
    assert found.status is ApplicationStatus.DEPLOY_FAILED
    assert "http_options.host of the Serve config: 0.0.0.0 can be reached by others" in found.message
    assert "auth=keys" in found.message


def test_on_loopback_nobody_is_asked(ray_session: None, tiny: Config, release: Release) -> None:
    with proxies_on("127.0.0.1") as port:
        assert deployed(tiny, port, "127.0.0.1").status is ApplicationStatus.RUNNING
        assert httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"k": 3}).status_code == 200


def test_a_replica_does_not_start_where_others_reach_it_however_it_was_built(
    ray_session: None, tiny: Config, release: Release
) -> None:
    with proxies_on("0.0.0.0"), pytest.raises(RuntimeError):
        serve.run(build_application(ReplicaSettings.of(tiny, tiny.events.on_this_machine())), name="recommender")
