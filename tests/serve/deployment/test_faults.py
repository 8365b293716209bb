"""Milvus behind a line that breaks: stopped, silent, slow, empty. The endpoint answers all the same, and recovers."""

from collections.abc import Iterator
from dataclasses import replace

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
from tests.serve.line import Line, State
from tests.serve.waiting import until
from towers.checkpoint.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

TIMEOUT_MS, PAUSE_S = 300, 0.3


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
