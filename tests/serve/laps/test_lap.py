"""A lap on synthetic traffic: it learns a taste that has shifted, does nothing twice, and stops at garbage."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.sources.event_log.files import EventLog
from data.sources.synthetic import END_S, Planted, SyntheticSource, plant
from serve.laps.config import LapStart, LapStopped
from serve.laps.run import run_lap
from serve.pipeline.user_encoder import KnownUser, UserEncoder
from serve.releases.registry import ReleaseRegistry
from tests.conftest import TINY
from towers.checkpoint.checkpoint import open_checkpoint

pytestmark = pytest.mark.slow

K, POSTED, HELD_OUT = 20, 12, 4


@pytest.fixture(scope="module")
def config(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Config:
    base = [override.replace("data.source.", "data.source.base.") for override in TINY]
    return load(
        [
            "data=events",
            "data/source@data.source.base=synthetic",
            "data.source.base_type=click",
            *base,
            f"storage.root={tmp_path_factory.mktemp('laps')}",
            "gate.max_mean_cosine=0.7",
            "gate.max_golden_ms=10000",  # on a busy machine too
            "train.epochs=8",
        ]
    )


@pytest.fixture(scope="module")
def storage(config: Config) -> Folder:
    return Folder.of(config.storage.root)


@pytest.fixture(scope="module")
def planted(config: Config) -> Planted:
    source: Any = config.data.source
    assert isinstance(source.base, SyntheticSource)
    return plant(source.base)


@pytest.fixture(scope="module")
def shifted(planted: Planted) -> np.ndarray:
    """int [users, POSTED + HELD_OUT]: items of a taste that each user did not have before."""
    random, num_clusters = np.random.default_rng(0), int(planted.item_clusters.max()) + 1
    taste = (planted.user_clusters[:, 0] + num_clusters // 2) % num_clusters
    known = np.isfinite(planted.item_start)
    of_taste = [np.flatnonzero((planted.item_clusters == each) & known) for each in range(num_clusters)]
    return np.stack([random.permutation(of_taste[each])[: POSTED + HELD_OUT] for each in taste])


def write_events(storage: Folder, planted: Planted, pairs: list[tuple[int, int]], part: str, at_s: int) -> None:
    users, items = planted.users["user_id"].to_pylist(), planted.items["item_id"].to_pylist()
    events = [
        {"event_id": f"{part}-{n}", "user_id": users[user], "item_id": items[item], "type": "click",
         "time": (at_s + n) * 1_000_000, "context": {}, "received": (at_s + n) * 1_000_000}
        for n, (user, item) in enumerate(pairs)
    ]  # fmt: skip
    log = EventLog.of(storage)
    log.write(part, events)
    log.set_until(events[-1]["received"])


def recall(storage: Folder, planted: Planted, wanted: np.ndarray) -> float:
    """Recall@K of the live release for items that each user has not had."""
    registry = ReleaseRegistry.of(storage)
    parts = registry.open(registry.resolve(None)).parts
    users = [parts.users.ids.row(id_) for id_ in planted.users["user_id"].to_pylist()]
    histories = [parts.history.of_user(row) for row in users]
    vectors = UserEncoder("any", parts).vectors([KnownUser(row, of) for row, of in zip(users, histories, strict=True)])
    item_vectors_ID, found = parts.item_vectors_ID.numpy(), []
    for vector_D, history, items in zip(vectors, histories, wanted, strict=True):
        rows = [parts.items.ids.row(id_) for id_ in planted.items["item_id"].take(items).to_pylist()]
        if vector_D is not None:
            score_I = item_vectors_ID @ vector_D
            score_I[[0, *history]] = -np.inf
            found.append(np.isin(rows, np.argsort(-score_I)[:K]).mean())
    return float(np.mean(found))


@pytest.fixture(scope="module")
def lap(config: Config, storage: Folder) -> Callable[[], dict[str, Any]]:
    return lambda: run_lap(config, storage, within_s=30, progress=lambda _: None)


def test_laps(
    config: Config, storage: Folder, planted: Planted, shifted: np.ndarray, lap: Callable[[], dict[str, Any]]
) -> None:
    first = lap()
    assert (first["outcome"], first["steps"]["drift"]) == ("promoted", None), "nothing was live"
    assert first["steps"]["trial"] == {"tried": False, "why": "no release was live"}
    before = recall(storage, planted, shifted[:, POSTED:])

    pairs = [(user, int(item)) for items in shifted[:, :POSTED].T for user, item in enumerate(items)]
    write_events(storage, planted, pairs, "shift", END_S)
    second = lap()
    assert (second["outcome"], second["steps"]["trial"]["why"]) == ("promoted", "no endpoint is running")
    assert second["steps"]["drift"]["num_new"] == len(pairs)
    assert second["steps"]["promotion"]["previous"] == first["steps"]["release"]
    after = recall(storage, planted, shifted[:, POSTED:])
    print(f"recall@{K} of the new taste: {before:.3f} before the lap, {after:.3f} after it")
    assert after >= 1.5 * before

    third = lap()
    assert (third["outcome"], third["steps"]["drift"]["num_new"]) == ("nothing new", 0)

    again = [(user, int(item)) for items in shifted[:, :2].T for user, item in enumerate(items)]
    write_events(storage, planted, again, "again", END_S + 50_000)
    from_live = replace(config, cycle=replace(config.cycle, start=LapStart.live), train=replace(config.train, epochs=2))
    fourth = run_lap(from_live, storage, within_s=30, progress=lambda _: None)
    assert fourth["outcome"] == "promoted"
    live = second["steps"]["train"]
    assert fourth["steps"]["start"] == live
    assert open_checkpoint(Folder.of(fourth["steps"]["train"])).manifest["config"]["train"]["start_from"] == live
    assert recall(storage, planted, shifted[:, POSTED:]) >= 1.5 * before

    random = np.random.default_rng(1)
    users, items = (random.integers(0, len(table), 4000).tolist() for table in (planted.users, planted.items))
    write_events(storage, planted, list(zip(users, items, strict=True)), "garbage", END_S + 100_000)
    with pytest.raises(LapStopped, match=r"stopped, what was live stays: gate: ndcg@20 on its own test part"):
        lap()
    assert ReleaseRegistry.of(storage).resolve(None) == fourth["steps"]["release"]
