"""An endpoint that starts on another team's Ray Serve listens where that does, and leaves its applications alone."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import ApplicationStatus

from conf.schema import Config
from data.artifacts.errors import ConfigError
from data.cluster.ray_compatibility.shutdown import stop_serve
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.releases.release import Release

pytestmark = pytest.mark.slow


def deploy_theirs(name: str, path: str) -> None:
    """An application of another team; its class travels by value."""

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    class Theirs:
        async def __call__(self, request: object) -> str:
            return "theirs"

    serve.run(Theirs.bind(), name=name, route_prefix=path)


@pytest.fixture
def others(ray_session: None, free_port: int) -> Iterator[str]:
    """The address of a Ray Serve with an application that is not ours."""
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=free_port))
    try:
        deploy_theirs("theirs", "/theirs")
        yield f"http://127.0.0.1:{free_port}"
    finally:
        stop_serve()


@pytest.fixture
def beside(tiny: Config, release: Release, free_port: int) -> Config:
    return replace(tiny, serve=replace(tiny.serve, port=free_port, ingress=ScaleConfig(num_cpus=0.1)))


def starting(config: Config) -> None:
    with running_endpoint(config, declared=True):
        raise AssertionError("it started")


@pytest.mark.parametrize("declared", [True, False])
def test_their_application_goes_on_when_the_endpoint_ends(others: str, beside: Config, declared: bool) -> None:
    """All applications were stopped with the endpoint."""
    with running_endpoint(beside, declared=declared) as address:
        assert address == others
        assert httpx.post(f"{address}/v1/recommend", json={"user_id": "u00001"}, timeout=30).status_code == 200
        assert httpx.get(f"{address}/theirs", timeout=30).text == "theirs"
    found = serve.status().applications
    assert {name: of.status for name, of in found.items()} == {"theirs": ApplicationStatus.RUNNING}
    assert httpx.get(f"{others}/theirs", timeout=30).text == "theirs"


def test_another_address_than_that_of_ray_serve_is_refused(others: str, beside: Config, free_port: int) -> None:
    """Nothing listened at the address that was printed."""
    for name, value, has in (("port", free_port + 1, free_port), ("grpc_port", free_port + 2, 0)):
        elsewhere = replace(beside, serve=replace(beside.serve, **{name: value}))
        with pytest.raises(ConfigError, match=rf"serve\.{name}: {value} takes no effect.*give serve\.{name}={has},"):
            starting(elsewhere)
    assert set(serve.status().applications) == {"theirs"}


def test_an_application_at_the_path_of_the_endpoint_is_named(others: str, beside: Config) -> None:
    deploy_theirs("whole", "/")
    with pytest.raises(ConfigError, match="the application whole of the Ray Serve there has the path /"):
        starting(beside)
    assert set(serve.status().applications) == {"theirs", "whole"}


def test_an_endpoint_that_runs_is_not_replaced_by_that_of_the_demo(beside: Config) -> None:
    with running_endpoint(beside) as address:
        with pytest.raises(ConfigError, match=r"an endpoint runs there already; change it by python -m serve\.run"):
            starting(beside)
        assert httpx.get(f"{address}/readyz", timeout=30).status_code == 200
