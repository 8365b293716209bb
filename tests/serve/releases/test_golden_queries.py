"""Golden queries of logs that are small, and of those whose ids no request could name."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.sequences.histories import Sequences
from serve.deployment.release_runtime import ReleaseRuntime, new_breakers, open_runtime
from serve.deployment.replica import ReplicaSettings
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.messages import Query
from serve.pipeline.request import recommend
from serve.releases.building.golden_users import golden_users
from serve.releases.golden_queries import NUM_QUERIES, read_golden
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from tests.benchmarks.releases import made
from tests.towers.model.test_two_tower import DIM, ITEMS, side
from towers.model.build import build_model
from towers.model.config import ModelConfig


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


def parts_of(last_items: list[int], **values: object) -> Any:
    """Towers without ids of users, and users who have taken two items each; nothing is known of item 12."""
    config = ModelConfig(embedding_dim=DIM, user_ids=False, history_length=1, **values)  # type: ignore[arg-type]
    model = build_model(config, side(len(last_items) + 1), side(ITEMS, unknown=(12,)), seed=0).eval()
    items_N = np.array([item for last in last_items for item in (3, last)], dtype=np.int32)
    offsets_U1 = np.concatenate([[0], np.arange(len(last_items) + 1) * 2])
    return SimpleNamespace(model=model, history=Sequences(offsets_U1, items_N), folder="checkpoint")


def test_users_whom_the_towers_cannot_place_are_no_golden_ones() -> None:
    """Whose latest items came after training: publishing ended in an assertion of ours."""
    last_items = [12 if user % 3 == 0 else 5 for user in range(1, 31)]
    parts = parts_of(last_items)
    users = golden_users(parts, NUM_QUERIES)
    assert len(users) == NUM_QUERIES and users == sorted(set(users))
    assert all(last_items[user - 1] == 5 for user in users)
    rows, latest = torch.tensor(users), torch.from_numpy(parts.history.last(np.array(users), 1))
    assert parts.model.is_known(rows, latest).all()
    assert golden_users(parts_of([5] * 30), 4) == [1, 10, 20, 30], "spread over all of them"
    assert golden_users(parts_of([12, 12, 5]), NUM_QUERIES) == [3]
    with pytest.raises(ReleaseError, match=r"^checkpoint: the towers can place no user, .* train\.fit_on=all"):
        golden_users(parts_of([12] * 9), NUM_QUERIES)
