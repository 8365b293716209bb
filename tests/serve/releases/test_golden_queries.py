"""Golden queries of logs that are small, and of those whose ids no request could name."""

import asyncio
from pathlib import Path

import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from serve.deployment.release_runtime import ReleaseRuntime, new_breakers, open_runtime
from serve.deployment.replica import ReplicaSettings
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.messages import Query
from serve.pipeline.request import recommend
from serve.releases.golden_queries import read_golden
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.releases import made


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load([f"storage.root={tmp_path}", f"index.uri={tmp_path}/milvus.db", "tracking=off", "index.timeout_s=60"])


async def opened(config: Config, release_id: str) -> ReleaseRuntime:
    """The release as a replica opens it, which checks its golden queries and warms up."""
    settings = ReplicaSettings(
        storage_root=config.storage.root, index=config.index, serve=config.serve, auth=config.auth
    )
    return await open_runtime(settings, ReleaseRegistry.of(Folder.of(config.storage.root)).open_served(release_id))


async def test_users_who_have_seen_all_items_keep_no_release_back(config: Config) -> None:
    """Of five items, with twenty interactions each."""
    release_id = await asyncio.to_thread(made.made_release, config, 5, 20, 1)
    golden = read_golden(ReleaseRegistry.of(Folder.of(config.storage.root)).open(release_id))
    assert [] in [one.candidates for one in golden]
    assert all(len(one.ranked) == len(one.candidates) for one in golden)
    runtime = await opened(config, release_id)
    await runtime.close()


async def test_ids_that_are_too_long_for_a_request_keep_no_release_back(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = made._catalogue
    monkeypatch.setattr(made, "_catalogue", lambda column, letter, *more: catalogue(column, 300 * letter, *more))
    runtime = await opened(config, await asyncio.to_thread(made.made_release, config, 50, 20, 1))
    query = Query(release_id=runtime.adapter.release_id, user_id=None, k=5, num_candidates=10, history=(1, 2))
    limits = BudgetLimits(10.0, 10.0, new_breakers(config.serve))
    answer = await recommend(query, runtime.stages, runtime.adapter.fallback, limits)
    assert (len(answer.rows), answer.degraded) == (5, False)
    await runtime.close()
