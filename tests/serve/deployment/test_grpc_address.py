"""On a node of a cluster, whose address is not loopback, gRPC listens on loopback alone where HTTP does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from conf.schema import FOLDER, Config
from serve.api import recommender_pb2 as pb
from serve.api.recommender_pb2_grpc import RecommenderStub
from serve.releases.release import Release
from tests.benchmarks.harness import servers
from tests.serve.waiting import wait_until
from tests.towers.sweeps.simulated import PLAIN, node

pytestmark = pytest.mark.slow

ADDRESS = "127.0.0.2"
"""The node's: an address that Ray takes for one of the network's, as it is neither 127.0.0.1 nor localhost."""


def answers(place: str, user: str) -> bool:
    """Whether recommendations are to be had there over gRPC, without a key."""
    with grpc.insecure_channel(place) as channel:
        try:
            return bool(RecommenderStub(channel).Recommend(pb.RecommendRequest(user_id=user), timeout=5).items)
        except grpc.RpcError:
            return False


def places() -> list[str]:
    """Where processes of Ray Serve listen on the node's address."""
    found = []
    for process in psutil.process_iter():
        try:
            if "ServeReplica" in (name := " ".join(process.cmdline())) or "Proxy" in name or "haproxy" in name:
                listening = [c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
                found += [f"{ADDRESS}:{at.port}" for at in listening if at.ip in (ADDRESS, "0.0.0.0", "::")]
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("haproxy", ["1", "0"])
def test_grpc_without_keys_is_on_loopback_alone(
    tiny: Config, release: Release, known_user: str, free_port: int, tmp_path: Path, haproxy: str
) -> None:
    environment = {**os.environ, **PLAIN, "PYTHONPATH": str(FOLDER.parent), "RAY_SERVE_ENABLE_HA_PROXY": haproxy}
    port, grpc_port = servers.free_port(), servers.free_port()
    options = ("--head", f"--port={port}", "--num-cpus=4", "--include-dashboard=false", f"--node-ip-address={ADDRESS}")
    command = [
        sys.executable, "-m", "serve.run", f"cluster.address={ADDRESS}:{port}", f"storage.root={tiny.storage.root}",
        f"index.uri={tiny.index.uri}", f"serve.port={free_port}", f"serve.grpc_port={grpc_port}",
        "serve.ingress.num_cpus=0.5", "guard.enabled=false", "events=off", f"hydra.run.dir={tmp_path / 'run'}",
    ]  # fmt: skip
    with node(tmp_path / "head.log", options, environment), (tmp_path / "log").open("w") as log:
        serving = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: "serve: ready" in (tmp_path / "log").read_text(), "the endpoint runs", 240)
            assert httpx.get(f"http://127.0.0.1:{free_port}/readyz").status_code == httpx.codes.OK
            assert answers(f"127.0.0.1:{grpc_port}", known_user)
            assert f"{ADDRESS}:{grpc_port}" not in (open_to_others := places())
            assert not [place for place in open_to_others if answers(place, known_user)]
        finally:
            serving.send_signal(signal.SIGINT)
            serving.wait(60)
