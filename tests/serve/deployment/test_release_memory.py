"""A release that is dropped is freed at once: the garbage collector does not look at what Ray Serve has frozen."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from serve.api.adapter import RequestAdapter
from serve.api.schemas import RecommendRequest
from serve.deployment.release_runtime import ReleaseRuntime, new_breakers
from serve.deployment.replica import ReplicaSettings
from serve.deployment.stages.local import LocalStages
from serve.index.recall_monitor import RecallMonitor, SampledSearch
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.request import recommend
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def answered(runtime: ReleaseRuntime, config: Config) -> None:
    request = RecommendRequest(user_id="u00001", history=["i00001"], k=5)
    query, _ = runtime.adapter.query(request)
    limits = BudgetLimits(30.0, 30.0, new_breakers(config.serve))
    answer = await recommend(query, runtime.stages, runtime.adapter.fallback, limits)
    assert len(answer.rows) == 5
    assert not answer.degraded


async def test_everything_of_a_release_is_freed(release: Release, tiny: Config, no_collector: None) -> None:
    settings = ReplicaSettings(storage_root=tiny.storage.root, index=tiny.index, serve=tiny.serve, auth=tiny.auth)
    mine = ReleaseRegistry.of(Folder.of(tiny.storage.root)).open(release.id)  # the fixture's own release stays
    stages = await LocalStages.build(settings, mine)
    runtime = ReleaseRuntime(RequestAdapter(mine, 100), stages, new_breakers(tiny.serve))
    await answered(runtime, tiny)
    parts = {
        "runtime": runtime,
        "adapter": runtime.adapter,
        "user encoder": stages.user_encoder,
        "index": stages.retriever.index,
        "re-ranker": stages.reranker,
        "towers": mine.parts.model,
        "release": mine,
    }
    kept = {name: weakref.ref(part) for name, part in parts.items()}
    await runtime.close()
    del runtime, stages, mine, parts
    assert [name for name, part in kept.items() if part() is not None] == []


async def test_a_monitor_that_is_closed_holds_no_index(no_collector: None) -> None:
    class Index:
        approximate = True

    index = Index()
    monitor = RecallMonitor(1.0, index, lambda *_: None)  # type: ignore[arg-type]
    monitor.sample(SampledSearch(np.zeros(2), 1, None, None, None))  # type: ignore[arg-type]
    task = monitor._task
    assert task is not None
    monitor.close()
    with suppress(asyncio.CancelledError):
        await task
    kept = weakref.ref(index)
    del index, monitor, task
    await asyncio.sleep(0)  # the event loop lets go of the task, which has woken this test
    assert kept() is None
