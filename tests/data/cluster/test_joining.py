"""Joining a Ray that runs: one that a command has started here, and addresses at which there is none."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
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
STARTS = """
import ray, sys
from data.cluster.session import ClusterConfig, connect

connect(ClusterConfig(num_cpus=1, dashboard=False), uses_data=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_ray_that_was_started_here_is_joined_although_it_listens_on_loopback_alone(ray_session: None) -> None:
    """As `serve.run cluster.address=auto` does beside an endpoint: Ray called the machine's own address, for ever."""
    address = ray.get_runtime_context().gcs_address
    done = joined(address, dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == f"{address} it ran"


def joined(address: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A process that joins the Ray at an address, and has a task run there."""
    return subprocess.run(
        [sys.executable, "-c", JOINS, address],
        cwd=REPOSITORY,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, str]:
    """The environment of a terminal in which nothing was said of tokens, with a home folder of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")} | {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
    }


def started(environment: dict[str, str]) -> tuple[subprocess.Popen[str], str]:
    """A process that has started a Ray, and its address; tried again where a busy machine does not bring Ray up."""
    for _ in range(5):
        starting = subprocess.Popen(
            [sys.executable, "-c", STARTS],
            cwd=REPOSITORY,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert starting.stdout is not None
        if address := starting.stdout.readline().strip():
            return starting, address
        assert starting.wait(60) != 0
    raise AssertionError("Ray does not start")


@pytest.fixture
def of_another_terminal(plain: dict[str, str]) -> Iterator[str]:
    """The address of a Ray that a command has started in such a terminal, and that asks for its token."""
    starting, address = started(plain)
    try:
        yield address
    finally:
        starting.communicate(timeout=120)  # closes what it reads, at which it ends


@pytest.mark.slow
def test_a_ray_that_a_command_has_started_in_a_plain_terminal_is_joined_from_another(
    of_another_terminal: str, plain: dict[str, str]
) -> None:
    """Ray asks for a token where it starts, and shows none to an address that it is told."""
    done = joined(of_another_terminal, plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == f"{of_another_terminal} it ran"
    assert "Token authentication" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "said", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 64 * "0"}]
)
def test_a_token_that_is_refused_or_missing_is_told_in_one_line(
    of_another_terminal: str, plain: dict[str, str], said: dict[str, str]
) -> None:
    done = joined(of_another_terminal, plain | said)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if "RayUnavailable: " in line)
    assert f"the Ray at {of_another_terminal} asks for a token" in line
    assert "export RAY_AUTH_MODE=token, and have its token in RAY_AUTH_TOKEN" in line


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
