"""Starting the endpoint: what stops it, each with one clear line, and where it listens."""

import asyncio
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from conf.schema import Config
from data.cluster.machine import choose_proxy
from data.cluster.ray_compatibility.haproxy_template import patched_template
from serve import demo
from serve.api.limits import MAX_BODY_BYTES
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.index.connection import milvus_address
from serve.index.protocol import IndexUnavailable
from serve.releases.release import Release, ReleaseError
from tests.benchmarks.harness.servers import server

pytestmark = pytest.mark.slow

IN_FLIGHT = ScaleConfig().in_flight
COUNTS = "http://127.0.0.1:9101/metrics"
SETTLED_S = 5
"""HAProxy's own metrics, and the age from which on no other process of it is expected."""


def has_haproxy() -> bool:
    """Whether the endpoint of this run is behind HAProxy."""
    return choose_proxy().haproxy


def of_ray(process: psutil.Process) -> bool:
    """Ray's processes carry its name; HAProxy's configuration lies in a folder of Ray Serve's."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "ray" in command.lower() or "haproxy" in command


def token_of_replica(process: psutil.Process) -> str | None:
    try:
        is_replica = "ServeReplica" in " ".join(process.cmdline())
        return process.environ().get("MILVUS_TOKEN") if is_replica else None
    except psutil.Error:
        return None


def starting(config: Config) -> None:
    with running_endpoint(config):
        raise AssertionError("it started")


def test_no_release_is_live(tiny: Config, ray_session: None, tmp_path) -> None:
    elsewhere = replace(tiny, storage=replace(tiny.storage, root=str(tmp_path)))
    with pytest.raises(ReleaseError, match=r"no release is live: run python -m serve\.publish"):
        starting(elsewhere)


def test_the_port_is_taken(tiny: Config, release: Release) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"serve\.port: 127\.0\.0\.1:{port} is in use .* pass serve\.port="):
            starting(replace(tiny, serve=replace(tiny.serve, port=port)))


def test_the_demo_says_so_before_it_trains_and_promotes(tiny: Config, ray_session: None, tmp_path: Path) -> None:
    """The endpoint that has the port, such as that of another demo, would follow what is promoted."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = replace(tiny.serve, port=other.getsockname()[1])
        with pytest.raises(OSError, match=r"serve\.port: .* is in use"):
            demo.task(replace(tiny, serve=busy, storage=replace(tiny.storage, root=str(tmp_path))))
    assert not list(tmp_path.iterdir())


def test_milvus_cannot_be_reached(tiny: Config, release: Release, free_port: int) -> None:
    nowhere = replace(tiny.index, uri="http://127.0.0.1:1")
    with pytest.raises(IndexUnavailable, match=r"index\.uri: no Milvus at"):
        starting(replace(tiny, index=nowhere, serve=replace(tiny.serve, port=free_port)))


def test_it_ends_without_an_error_on_the_screen(release: Release, root: Path, free_port: int, tmp_path: Path) -> None:
    small = ("serve.ingress.num_cpus=0.1", "cluster.num_cpus=2", "cluster.dashboard=false")
    arguments = [*small, f"storage.root={root}", f"serve.port={free_port}"]
    log = tmp_path / "log"
    with server("serve.run", [*arguments, f"hydra.run.dir={tmp_path}"], free_port, log):
        ends = time.monotonic() + 60
        while "serve: ready" not in log.read_text():
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
    said = log.read_text()
    assert not [line for line in said.splitlines() if re.search("Error|failed|Traceback|retries", line)], said


def test_a_password_in_the_address_of_milvus_reaches_replicas_and_not_the_serve_config(
    tiny: Config, release: Release, root: Path, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MILVUS_TOKEN", raising=False)
    small = ("serve.ingress.num_cpus=0.1", "cluster.num_cpus=2", "cluster.dashboard=false")
    arguments = [*small, f"storage.root={root}", f"serve.port={free_port}", f"hydra.run.dir={tmp_path}"]
    with milvus_address(tiny.index) as address:
        uri = address.replace("://", "://root:Secret9@")
        with server("serve.run", [*arguments, f"index.uri={uri}"], free_port, tmp_path / "log") as endpoint:
            asked = {"user_id": "u00001", "k": 3}
            answer = httpx.post(f"{endpoint}/v1/recommend", json=asked, timeout=30).json()
            assert (len(answer["items"]), answer["degraded"]) == (3, False)
            assert "root:Secret9" in {token_of_replica(process) for process in psutil.process_iter()}


def test_everything_listens_on_loopback(fused: tuple[str, str]) -> None:
    this = psutil.Process()
    ours = {p.pid: " ".join(p.cmdline()) for p in (this, *filter(of_ray, this.children(recursive=True)))}
    listening = {
        (c.laddr.ip, c.laddr.port, ours[c.pid])
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.pid in ours
    }
    asked = {int(place.rsplit(":", 1)[1]) for place in fused} | ({8404, 9101} if has_haproxy() else set())
    assert asked <= {port for _, port, _ in listening}
    assert not {place for place in listening if place[0] not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")}


async def settled(client: httpx.AsyncClient) -> None:
    """HAProxy has had one config for some seconds: with a new one comes a new process, which counts from 0 beside one
    that still answers, uncounted.
    """
    ends = time.monotonic() + 60
    while int(re.findall(r"haproxy_process_uptime_seconds (\d+)", (await client.get(COUNTS)).text)[0]) < SETTLED_S:
        assert time.monotonic() < ends, "HAProxy has one config after another"
        await asyncio.sleep(0.5)


async def test_more_than_the_replicas_take_is_refused_at_once_and_the_rest_answered(fused: tuple[str, str]) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=fused[0], timeout=60, limits=limits) as client:
        if has_haproxy():
            await settled(client)
        asked = (client.post("/v1/recommend", json={"user_id": f"u{n:05d}"}) for n in range(8 * IN_FLIGHT))
        answers = await asyncio.gather(*asked)
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 503}
        assert statuses[200] >= IN_FLIGHT
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert (refused.headers["Retry-After"], "try again" in refused.json()["detail"]) == ("1", True)
        assert (await client.post("/v1/recommend", json={"user_id": "u00001"})).status_code == 200
        if not has_haproxy():
            return
        counted = (await client.get(COUNTS)).text
        line = r'haproxy_frontend_http_responses_total{proxy="http_frontend",code="5xx"} (\d+)'
        assert int(re.findall(line, counted)[0]) >= statuses[503]


async def test_bodies_that_come_slowly_take_no_place(fused: tuple[str, str]) -> None:
    """More clients than the replica takes send a byte now and then; ordinary requests are answered as if alone.

    HAProxy waits for the bodies. Ray Serve's own proxy does not: the replica refuses most of them within a moment.
    """
    slow = [await asyncio.open_connection(*fused[0].removeprefix("http://").split(":")) for _ in range(2 * IN_FLIGHT)]
    for number, (_, writer) in enumerate(slow):
        method = ("POST", "PUT", "DELETE", "PATCH", "GET", "POST")[number % 6] if has_haproxy() else "POST"
        head = f"{method} /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: {MAX_BODY_BYTES}\r\n\r\n{{"
        writer.write(head.encode())
        await writer.drain()
    async with httpx.AsyncClient(base_url=fused[0], timeout=60) as client:
        if not has_haproxy():
            ends = time.monotonic() + 30
            while (await client.post("/v1/recommend", json={"user_id": "u00001"})).status_code != 200:
                assert time.monotonic() < ends
                await asyncio.sleep(0.05)
        for n in range(20):
            assert (await client.post("/v1/recommend", json={"user_id": f"u{n:05d}"})).status_code == 200
            for _, writer in slow if has_haproxy() else ():  # otherwise most are closed
                writer.write(b" ")
    answers = await asyncio.gather(*(reader.read() for reader, _ in slow))
    statuses = Counter(answer[:12] for answer in answers)
    if has_haproxy():
        assert statuses == {b"HTTP/1.1 408": 2 * IN_FLIGHT}
        assert b"not complete after 5 s" in answers[0]
    else:
        assert set(statuses) == {b"HTTP/1.1 408", b"HTTP/1.1 503"}, "few of them are waited for"
        assert statuses[b"HTTP/1.1 503"] > IN_FLIGHT


async def test_a_body_that_comes_slowly_is_not_waited_for_where_none_is_taken(fused: tuple[str, str]) -> None:
    """By a replica, that is: HAProxy waits for it, and a replica behind Ray Serve's own proxy answers at once."""
    if has_haproxy():
        return
    slow = [await asyncio.open_connection(*fused[0].removeprefix("http://").split(":")) for _ in range(2 * IN_FLIGHT)]
    for _, writer in slow:
        writer.write(b"PUT /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{")
        await writer.drain()
    async with asyncio.timeout(60):
        statuses = Counter([(await reader.readline())[:12] for reader, _ in slow])
    assert set(statuses) <= {b"HTTP/1.1 405", b"HTTP/1.1 503"}, "503 is for what comes beyond the replica's places"


async def test_the_largest_body_that_is_accepted_passes_in_pieces(fused: tuple[str, str]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"user_id": "u00001"'
        for _ in range(15):
            yield b" " * (MAX_BODY_BYTES // 16)
            await asyncio.sleep(0.01)
        yield b"}"

    async with httpx.AsyncClient(base_url=fused[0], timeout=60) as client:
        answer = await client.post("/v1/recommend", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


def test_the_changes_to_haproxy_fit_the_installed_ray() -> None:
    template = patched_template(HAPROXY_CONFIG_TEMPLATE, 10)
    assert "mul(10)" in template
    with pytest.raises(ValueError, match="no longer"):
        patched_template(template, 10)
