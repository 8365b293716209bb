"""An ingress whose storage hangs or whose tasks end: metrics go on, /readyz says what it is, and Serve is told."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config
from data.cluster.ray_compatibility.serve_addresses import LOOPBACK
from data.sources.event_log.decisions import DecisionLog
from serve.api.schemas import RecommendRequest
from serve.deployment.answers import background
from serve.deployment.ingress import RecommenderIngress
from serve.deployment.replica import ReplicaSettings
from serve.deployment.settings import StalePointer
from serve.events.config import EventsConfig
from serve.events.decisions.config import DecisionsConfig
from serve.observability.metrics import Metrics
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry
from tests.serve.rollout.test_two_phase import registry

__all__ = ["registry"]

READY, NOT_READY = 200, 503

INGRESS: Any = RecommenderIngress.__mro__[1]
"""What Serve wraps. Its functions have globals of their own, since Serve has pickled them."""


class Storage:
    """Where the live pointer is read and decisions are written; each may hang."""

    def __init__(self) -> None:
        self.pointer, self.decisions = threading.Event(), threading.Event()
        self.recover()

    def recover(self) -> None:
        self.pointer.set()
        self.decisions.set()


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    storage = Storage()
    read, write = ReleaseRegistry.live, DecisionLog.write_parts

    def live(registry: ReleaseRegistry) -> LivePointer | None:
        storage.pointer.wait()
        return read(registry)

    def write_parts(log: DecisionLog, *arguments: Any) -> None:
        storage.decisions.wait()
        write(log, *arguments)

    monkeypatch.setattr(ReleaseRegistry, "live", live)
    monkeypatch.setattr(DecisionLog, "write_parts", write_parts)
    yield storage
    storage.recover()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INGRESS.__init__.__globals__, "replica_name", lambda: "replica")
    monkeypatch.setattr(background, "EVERY_S", 0.02)
    monkeypatch.setattr(background, "WRITE_LATE_S", 0.1)


class Exported:
    """What metrics have last exported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_stale, self.num, self.lost, self.late = False, 0, 0, dict[str, bool]()
        flush, flush_lost, flush_late = Metrics.flush, Metrics.flush_lost, Metrics.flush_late

        def noted(metrics: Metrics, release_id: str, breakers: Any, is_stale: bool) -> None:
            self.is_stale, self.num = is_stale, self.num + 1
            flush(metrics, release_id, breakers, is_stale)

        def noted_lost(metrics: Metrics, lost: Any) -> None:
            self.lost += lost["decisions"]
            flush_lost(metrics, lost)

        def noted_late(metrics: Metrics, late: Any) -> None:
            self.late = dict(late)
            flush_late(metrics, late)

        for name, function in (("flush", noted), ("flush_lost", noted_lost), ("flush_late", noted_late)):
            monkeypatch.setattr(Metrics, name, function)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Exported:
    return Exported(monkeypatch)


def settings_of(tiny: Config, registry: ReleaseRegistry, **serve: Any) -> ReplicaSettings:
    times = {"poll_s": 0.02, "lease_s": 0.2, "timeout_ms": 400, "max_timeout_ms": 20_000}
    events = EventsConfig(store="off", decisions=DecisionsConfig(every_s=0.01, max_waiting=2))
    root = str(Path(registry.folder.path).parent)
    settings = replace(tiny.serve, **times | serve)
    return ReplicaSettings(storage_root=root, index=tiny.index, serve=settings, auth=tiny.auth, events=events)


@asynccontextmanager
async def ingress_of(settings: ReplicaSettings) -> AsyncIterator[Any]:
    """A replica of the ingress in this process, without Serve."""
    replica = object.__new__(type("Ingress", (INGRESS,), {"__del__": lambda self: None}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serve.access.exposure.endpoint_host", lambda: LOOPBACK)  # Ray Serve does not run
        await INGRESS.__init__(replica, settings)
    try:
        yield replica
    finally:
        replica._releases.following.cancel()
        for task in replica._tasks._tasks:
            task.cancel()


async def readiness(replica: Any) -> tuple[int, dict[str, Any]]:
    answer = await replica.ready()
    return answer.status_code, json.loads(answer.body)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_write_that_hangs_freezes_no_metrics_and_is_named(
    tiny: Config, registry: ReleaseRegistry, storage: Storage, exported: Exported
) -> None:
    async with ingress_of(settings_of(tiny, registry)) as replica:
        status, said = await readiness(replica)
        assert (status, said["missing"], said["release_id"]) == (READY, [], "first")
        storage.decisions.clear()
        for _ in range(2):
            await replica._answers.recommend(RecommendRequest(k=3))
            await until(lambda: exported.num > 2)
        await until(lambda: exported.late.get("records", False))
        for _ in range(5):
            await replica._answers.recommend(RecommendRequest(k=3))
        await until(lambda: exported.lost >= 2)
        storage.pointer.clear()  # after the write hangs
        await until(lambda: exported.is_stale)
        status, said = await readiness(replica)
        assert (status, said["status"]) == (READY, "ready"), "it answers, and a new replica would fare no better"
        assert said["missing"][0] == "live pointer stale"
        (hanging,) = [line for line in said["missing"] if line.startswith("records")]
        assert "no round has ended for" in hanging
        assert said["pointer_age_s"] >= 0.2
        assert said["tasks"].keys() == {"live pointer", "metrics", "records", "popular items"}
        replica.check_health()
        storage.recover()
        await until(lambda: not exported.is_stale and not exported.late["records"])
        assert (await readiness(replica))[1]["missing"] == []


async def test_a_stop_does_not_wait_for_a_write_that_hangs(
    tiny: Config, registry: ReleaseRegistry, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(INGRESS.__del__.__globals__, "LAST_S", 0.1)
    heartbeat = Path(registry.folder.path, ".replicas", "replica.json")
    async with ingress_of(settings_of(tiny, registry)) as replica:
        assert heartbeat.exists()
        storage.decisions.clear()
        await replica._answers.recommend(RecommendRequest(k=3))
        await asyncio.wait_for(INGRESS.__del__(replica), 60)
        assert not heartbeat.exists()


@pytest.mark.parametrize(
    ("meaning", "status"), [(StalePointer.refuse, NOT_READY), (StalePointer.answer, READY)], ids=lambda v: str(v)
)
async def test_a_stale_pointer_makes_unready_where_it_is_refused_to_answer(
    meaning: StalePointer, status: int, tiny: Config, registry: ReleaseRegistry, storage: Storage
) -> None:
    async with ingress_of(settings_of(tiny, registry, stale_pointer=meaning)) as replica:
        assert (await readiness(replica))[0] == READY
        storage.pointer.clear()
        await until(lambda: replica._releases.is_stale)
        found, said = await readiness(replica)
        assert (found, said["missing"][0]) == (status, "live pointer stale")
        replica.check_health()
        storage.recover()
        await until(lambda: not replica._releases.is_stale)
        assert (await readiness(replica))[0] == READY


@pytest.mark.parametrize("name", ["live pointer", "metrics", "records", "popular items"])
async def test_an_ingress_without_one_of_its_tasks_is_replaced(
    name: str, tiny: Config, registry: ReleaseRegistry
) -> None:
    async with ingress_of(settings_of(tiny, registry)) as replica:
        replica.check_health()
        (task,) = [task for task in replica._tasks._tasks if task.name == name]
        task.cancel()
        await until(lambda: not task.is_running)
        with pytest.raises(RuntimeError, match=f"{name}: ended"):
            replica.check_health()
        status, said = await readiness(replica)
        assert (status, said["missing"]) == (NOT_READY, [f"{name}: ended"])
