"""Milvus behind a line that breaks: stopped, silent, slow, empty. The endpoint answers all the same, and recovers."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from enum import Enum

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from serve.client import RecommendClient
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from tests.serve.waiting import until
from towers.checkpoint.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

SLOW_S, TIMEOUT_MS, PAUSE_S = 0.6, 300, 0.3


class State(Enum):
    passing = "passing"
    silent = "silent"  # what is sent is swallowed, as by a firewall that drops packets
    slow = "slow"  # answers come late
    stopped = "stopped"  # connections are cut and refused


class Line:
    """A TCP line to a server that does as it is told, in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.state = State.passing
        self.port = 0
        self._target = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        listening = threading.Event()
        threading.Thread(target=self._run, args=(listening,), daemon=True).start()
        listening.wait()

    def become(self, state: State) -> None:
        self.state = state
        if state is State.stopped:
            asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    def _run(self, listening: threading.Event) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        self._loop.run_forever()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop.stop()

    async def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.state is State.stopped:
            writer.transport.abort()
            return
        answers, requests = await asyncio.open_connection(*self._target)
        self._open |= {writer, requests}
        with suppress(ConnectionError):
            await asyncio.gather(self._pump(reader, requests, 0.0), self._pump(answers, writer, SLOW_S))
        self._open -= {writer, requests}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, slow_s: float) -> None:
        while data := await source.read(65_536):
            if self.state is State.slow:
                await asyncio.sleep(slow_s)
            if self.state is not State.silent:
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.fixture(scope="module")
def line(milvus_server: str) -> Iterator[Line]:
    host, port = milvus_server.removeprefix("http://").split(":")
    line = Line(host, int(port))
    yield line
    line.end()


@pytest.fixture(scope="module")
def index(line: Line) -> IndexConfig:
    return IndexConfig(kind="milvus", uri=f"http://127.0.0.1:{line.port}", timeout_s=5)


@pytest.fixture(scope="module")
def faulty(
    tiny: Config, checkpoint: Checkpoint, index: IndexConfig, tmp_path_factory: pytest.TempPathFactory
) -> Config:
    """A release of its own root whose vectors are on the server, behind the line."""
    config = replace(tiny, storage=replace(tiny.storage, root=str(tmp_path_factory.mktemp("faults"))), index=index)
    storage = Folder.of(config.storage.root)
    ReleaseRegistry.of(storage).promote(publish(index, checkpoint, storage))
    return config


@pytest.fixture(scope="module")
def client(faulty: Config, free_port: int) -> Iterator[RecommendClient]:
    served = replace(
        faulty.serve, port=free_port, timeout_ms=TIMEOUT_MS, breaker_failures=2, breaker_pause_s=PAUSE_S,
        ingress=ScaleConfig(num_cpus=0.1),
    )  # fmt: skip
    with running_endpoint(replace(faulty, serve=served)) as address, RecommendClient(address, timeout_s=30) as client:
        yield client


@pytest.fixture(autouse=True)
def whole(line: Line, client: RecommendClient, known_user: str) -> Iterator[None]:
    """Every test begins with a line that carries, and an endpoint that has noticed."""
    line.become(State.passing)
    until(client, known_user, lambda answer: not answer.degraded)
    yield
    line.become(State.passing)


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.silent, "retrieve_late"), (State.slow, "retrieve_late"), (State.stopped, "retrieve_failed")],
    ids=lambda value: getattr(value, "value", ""),
)
def test_popular_items_come_instead_and_the_towers_come_back(
    state: State, reason: str, line: Line, client: RecommendClient, known_user: str
) -> None:
    assert client.recommend(user_id=known_user, k=5).source == "towers"
    line.become(state)
    answer = until(client, known_user, lambda answer: answer.degraded)
    assert (answer.source, len(answer.items)) == ("popular", 5)
    assert set(answer.reasons) <= {"retrieve_late", "retrieve_failed"}
    assert reason in answer.reasons or state is State.stopped
    skipped = until(client, known_user, lambda answer: "retrieve_skipped" in answer.reasons)
    assert (skipped.source, len(skipped.items)) == ("popular", 5)
    line.become(State.passing)
    assert until(client, known_user, lambda answer: not answer.degraded).source == "towers"


def test_an_empty_collection_is_topped_up_with_popular_items(
    client: RecommendClient, faulty: Config, known_user: str
) -> None:
    registry = ReleaseRegistry.of(Folder.of(faulty.storage.root))
    live = registry.live()
    assert live is not None
    with connected(faulty.index) as milvus:
        milvus.delete(registry.open(live.release).collection, filter="row > 0", timeout=10)
        answer = until(client, known_user, lambda answer: answer.degraded)
    assert (answer.source, answer.reasons, len(answer.items)) == ("popular", ["retrieve_short"], 5)
