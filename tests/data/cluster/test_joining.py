"""Joining a Ray that runs: one that a command has started here, and addresses at which there is none."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from data.artifacts.errors import ConfigError
from data.cluster.joining import RayUnavailable, address_to_join

REPOSITORY = Path(__file__).parents[3]
JOINS = """
import ray, sys
from data.cluster.session import ClusterConfig, connect

connect(ClusterConfig(address=sys.argv[1]), uses_data=False)
print(ray.get_runtime_context().gcs_address, ray.get(ray.remote(lambda: "it ran").remote(), timeout=60))
"""


@pytest.mark.slow
def test_a_ray_that_was_started_here_is_joined_although_it_listens_on_loopback_alone(ray_session: None) -> None:
    """As `serve.run cluster.address=auto` does beside an endpoint: Ray called the machine's own address, for ever."""
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", JOINS, address],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == f"{address} it ran"


@pytest.mark.parametrize("address", ["head", "10.0.0.5", "http://127.0.0.1:8265", "10.0.0.5:port", ":6379"])
def test_an_address_that_is_none_is_named_with_its_cure(address: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.address: '.*' .* such as 10\.0\.0\.5:6379"):
        address_to_join(address)


def test_an_address_at_which_nothing_answers_is_said_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RayUnavailable, match=rf"no Ray answers at {place} .* or unset RAY_ADDRESS"):
            address_to_join(place, within_s=0)


def test_what_answers_is_taken_as_it_stands() -> None:
    with socket.socket() as head:
        head.bind(("127.0.0.2", 0))
        head.listen()
        place = f"127.0.0.2:{head.getsockname()[1]}"
        assert address_to_join(place) == place
    assert address_to_join("ray://10.0.0.5:10001") == "ray://10.0.0.5:10001"
