"""HAProxy by the changed template: what it admits, what it waits for, and what it answers where replicas are dead."""

import asyncio
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from ray.serve._private import haproxy
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE
from ray.serve.config import HTTPOptions

from data.cluster.ray_compatibility.haproxy_template import CONNECT_MS, patched_template
from tests.benchmarks.harness.servers import free_port

IN_FLIGHT = 3
ANSWERS_AFTER_S = 4.0
OTHER_NODE = "127.0.0.2"
"""A second address of loopback stands for another node."""


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "HAPROXY_CONFIG_TEMPLATE", patched_template(HAPROXY_CONFIG_TEMPLATE, IN_FLIGHT))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A replica: it answers probes at once, and requests after a while, or dies of them."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"/v1/fatal" in head:
                break
            if b"/v1/" in head:
                await asyncio.sleep(ANSWERS_AFTER_S)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


@asynccontextmanager
async def replicas(hosts: tuple[str, ...]) -> AsyncIterator[list[ServerConfig]]:
    servers = [await asyncio.start_server(_answer, host, 0) for host in hosts]
    yield [
        ServerConfig(name=f"replica{at}", host=host, port=server.sockets[0].getsockname()[1])
        for at, (host, server) in enumerate(zip(hosts, servers, strict=True))
    ]
    for server in servers:
        server.close()


@contextmanager
def proxy(folder: Path, servers: list[ServerConfig] | None) -> Iterator[str]:
    """A HAProxy with the configuration that Ray Serve writes from the patched template; None: no application runs."""
    folder.mkdir()
    config = HAProxyConfig(
        socket_path=str(folder / "socket"), server_state_base=str(folder), server_state_file=str(folder / "state"),
        stats_port=free_port(), metrics_port=free_port(), health_check_inter="10s",
        http_options=HTTPOptions(host="127.0.0.1", port=free_port()), is_head=True,
    )  # fmt: skip
    backends = {}
    if servers is not None:
        backends["http-app"] = BackendConfig(name="http-app", path_prefix="/", servers=servers, app_name="app")
    api = HAProxyApi(config, backends, config_file_path=str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()
    process = subprocess.Popen([haproxy.get_haproxy_binary(), "-db", "-f", folder / "haproxy.cfg"])
    try:
        yield f"http://127.0.0.1:{config.http_options.port}"
    finally:
        process.terminate()
        process.wait()


async def listening(client: httpx.AsyncClient, address: str) -> None:
    ends = asyncio.get_running_loop().time() + 20
    while True:
        try:
            await client.get(f"{address}/-/routes")
            return
        except httpx.TransportError:
            assert asyncio.get_running_loop().time() < ends
            await asyncio.sleep(0.1)


async def admitted(addresses: list[str], each: int) -> int:
    """How many of the requests that are sent to each proxy at once get an answer; the others are refused."""
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=None)) as client:
        for address in addresses:
            await listening(client, address)
        asked = (client.post(f"{address}/v1/x") for address in addresses for _ in range(each))
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*asked))
    assert set(statuses) <= {200, 503}
    return statuses[200]


@pytest.mark.parametrize(
    ("hosts", "num_proxies", "room"),
    [
        (("127.0.0.1", OTHER_NODE), 2, 2 * IN_FLIGHT),
        (("127.0.0.1", "127.0.0.1"), 1, 2 * IN_FLIGHT),
        ((OTHER_NODE, "127.0.0.3"), 1, 2 * IN_FLIGHT),  # a head without replicas, whose proxy may be the only one
    ],
    ids=["two nodes", "one node", "the head alone"],
)
async def test_all_proxies_together_admit_what_the_replicas_take(
    tmp_path: Path, patched: None, hosts: tuple[str, ...], num_proxies: int, room: int
) -> None:
    async with replicas(hosts) as servers:
        with ExitStack() as stack:
            addresses = [stack.enter_context(proxy(tmp_path / str(at), servers)) for at in range(num_proxies)]
            assert await admitted(addresses, each=20) == room


ANNOUNCED = [b"Content-Length: 10", b"Transfer-Encoding: chunked"]
"""Headers by which a request says that a body follows: the same ten bytes, as they are and in chunks."""

REST = [b"234567890", b"3\r\n890\r\n0\r\n\r\n"]
BEGINNING = [b"1", b"7\r\n1234567\r\n"]


@asynccontextmanager
async def noting_replica() -> AsyncIterator[tuple[ServerConfig, list[bytes]]]:
    """A replica, and the methods of the requests that have reached it, probes apart."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(65_536)
        if b" /v1/" in head:
            seen.append(head.split()[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield ServerConfig(name="noting", host="127.0.0.1", port=server.sockets[0].getsockname()[1]), seen
    server.close()


async def test_bodies_of_any_method_are_waited_for(tmp_path: Path, patched: None) -> None:
    """They reach a replica when they are complete, and requests without a body do at once."""
    methods = (b"POST", b"PUT", b"PATCH", b"DELETE", b"GET", b"OPTIONS", b"ODD")
    async with noting_replica() as (server, seen):
        with proxy(tmp_path / "0", [server]) as address:
            async with httpx.AsyncClient(timeout=30) as client, asyncio.timeout(30):
                await listening(client, address)
                waiting = []
                for method in methods:
                    for header, beginning, rest in zip(ANNOUNCED, BEGINNING, REST, strict=True):
                        reader, writer = await asyncio.open_connection(*address.removeprefix("http://").split(":"))
                        writer.write(method + b" /v1/x HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n" + beginning)
                        await writer.drain()
                        waiting.append((reader, writer, rest))
                for method in ("GET", "POST", "DELETE"):
                    assert (await client.request(method, f"{address}/v1/x")).status_code == 200
                assert seen == [b"GET", b"POST", b"DELETE"]
                for reader, writer, rest in waiting:  # one after the other: replicas have room for few at a time
                    writer.write(rest)
                    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                    writer.close()
    assert Counter(seen[3:]) == dict.fromkeys(methods, len(ANNOUNCED))


DEAD = ServerConfig(name="dead", host="127.0.0.1", port=1)
"""Nobody listens there."""


async def asked(folder: Path, servers: list[ServerConfig] | None, *paths: str) -> list[tuple[int, str, str]]:
    """Status, Retry-After and detail of the answers to requests that are sent one after the other."""
    told = []
    with proxy(folder, servers) as address:
        async with httpx.AsyncClient(timeout=30) as client:
            await listening(client, address)
            for path in paths:
                answer = await client.post(f"{address}{path}")
                detail = answer.json()["detail"] if answer.status_code != httpx.codes.OK else ""
                told.append((answer.status_code, answer.headers.get("retry-after", ""), detail))
    return told


@pytest.mark.parametrize("servers", [None, [], [DEAD]], ids=["no application", "no replica", "dead replicas"])
async def test_where_no_replica_runs_it_asks_to_try_again(
    tmp_path: Path, patched: None, servers: list[ServerConfig] | None
) -> None:
    for status, retry_after, detail in await asked(tmp_path / "0", servers, *["/v1/recommend"] * 5):
        assert (status, retry_after) == (503, "1")
        assert detail.endswith("try again")


async def test_a_proxy_that_knows_no_application_ends_the_connection(tmp_path: Path, patched: None) -> None:
    """The next request goes to its successor, which knows replicas, and not to this process by the same connection."""
    with proxy(tmp_path / "0", None) as address:
        async with httpx.AsyncClient(timeout=30) as client:
            await listening(client, address)
            assert (await client.post(f"{address}/v1/recommend")).headers["connection"] == "close"


async def test_another_replica_answers_for_a_dead_one(tmp_path: Path, patched: None) -> None:
    async with replicas(("127.0.0.1",)) as servers:
        assert await asked(tmp_path / "0", [DEAD, *servers], *["/ok"] * 6) == [(200, "", "")] * 6
    waits = re.findall(r"timeout connect (\S+)", (tmp_path / "0" / "haproxy.cfg").read_text())
    assert waits == [f"{CONNECT_MS}ms"], "it waits that long before it asks another one"


async def test_a_request_that_dies_with_its_replica_is_not_sent_again(tmp_path: Path, patched: None) -> None:
    async with replicas(("127.0.0.1", "127.0.0.1")) as servers:
        (told,) = await asked(tmp_path / "0", servers, "/v1/fatal")
    assert told == (502, "1", "the replica that had this request has died; try again")
