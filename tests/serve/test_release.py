"""Releases: published once, verified, promoted by one atomic step; a damaged one never takes traffic."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from conf.schema import Config
from data.storage import MANIFEST, Folder, NotSealed
from serve.collection import list_collections
from serve.golden import GOLDEN, check_golden
from serve.index import IndexConfig, IndexUnavailable
from serve.live import LiveReleases
from serve.milvus import connected
from serve.promote import promote
from serve.publish import publish
from serve.release import Live, Registry, Release, ReleaseError
from towers.checkpoint import Checkpoint


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> Registry:
    """A registry of its own with two releases, `first` and `second`, copies of the real one."""
    for name in ("first", "second"):
        shutil.copytree(release.parts.folder.path, tmp_path / "releases" / name)
    return Registry.of(Folder.of(str(tmp_path)))


def damage(registry: Registry, release_id: str, name: str) -> None:
    path = Path(registry.path(release_id).path) / name
    path.write_bytes(path.read_bytes()[:-1])


def test_publishing_again_finds_the_release(tiny: Config, checkpoint: Checkpoint, release: Release) -> None:
    said: list[str] = []
    assert publish(tiny.index, checkpoint, Folder.of(tiny.storage.root), said.append) == release.id
    assert said == [f"publish: release {release.id} is already published"]


def test_a_lost_collection_is_published_again(tiny: Config, checkpoint: Checkpoint, release: Release) -> None:
    with connected(tiny.index) as client:
        client.drop_collection(release.collection, timeout=10)
    assert publish(tiny.index, checkpoint, Folder.of(tiny.storage.root)) == release.id
    with connected(tiny.index) as client:
        assert release.collection in list_collections(client, tiny.index)


def test_a_release_carries_what_it_serves(release: Release) -> None:
    names = {"kind", "collection", "num_items", "metrics", "floors", "dataset", "checkpoint", "created_at", "config"}
    assert names <= release.manifest.keys()
    assert release.manifest["index_recall@20"] == 1.0
    assert {"model.safetensors", "reranker.safetensors", GOLDEN} <= release.manifest["files"].keys()
    check_golden(release)


def test_nothing_is_left_where_milvus_does_not_answer(checkpoint: Checkpoint, tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    with pytest.raises(IndexUnavailable, match=r"no Milvus at http://127\.0\.0\.1:1 .* set index\.uri"):
        publish(IndexConfig(uri="http://127.0.0.1:1"), checkpoint, storage)
    assert Registry.of(storage).ids() == []


def test_promotion_moves_the_pointer_and_remembers(registry: Registry) -> None:
    assert registry.live() is None
    assert promote(registry, "first") == "first"
    assert promote(registry, "second") == "second"
    live = registry.live()
    assert live is not None
    assert (live.release, live.previous) == ("second", "first")
    assert registry.promote("second") == live, "promoting the live release changes nothing"


def test_promoting_what_is_not_there_names_what_is(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"'third': no such release \(there are: first, second\)"):
        promote(registry, "third")
    with pytest.raises(ReleaseError, match="no release to promote; run python -m serve.publish"):
        promote(Registry.of(Folder.of(str(tmp_path / "empty"))), None)
    assert registry.live() is None


def test_a_half_written_release_does_not_exist(registry: Registry) -> None:
    (Path(registry.path("second").path) / MANIFEST).unlink()
    assert registry.ids() == ["first"]


def test_a_changed_file_is_refused(registry: Registry) -> None:
    damage(registry, "second", "model.safetensors")
    with pytest.raises(NotSealed, match=r"model\.safetensors: missing or changed"):
        registry.open("second")


def test_golden_queries_that_do_not_come_out_are_refused(registry: Registry) -> None:
    release = registry.open("first")
    path = Path(registry.path("first").path) / GOLDEN
    golden = json.loads(path.read_text())
    golden[0]["vector"][0] += 0.01
    path.write_text(json.dumps(golden))
    with pytest.raises(ReleaseError, match="golden query of user row .* is off by 0.01"):
        check_golden(release)


async def built(release: Release) -> str:
    return release.id


async def until(releases: LiveReleases[str], wanted: str) -> None:
    async with asyncio.timeout(20):
        while releases.current != wanted:
            await asyncio.sleep(0.02)


def test_a_replica_follows_the_pointer_but_not_to_a_damaged_release(registry: Registry) -> None:
    async def story() -> None:
        registry.promote("first")
        releases = await LiveReleases(registry, built, poll_s=0.05).start()
        registry.promote("second")
        await until(releases, "second")
        assert await releases.get("first") == "first", "the one before stays at hand"
        damage(registry, "first", "model.safetensors")
        registry.promote("first")
        await asyncio.sleep(0.5)
        assert (releases.current, await releases.get("second")) == ("first", "second")

    async def poisoned() -> None:
        registry.promote("second")
        releases = await LiveReleases(registry, built, poll_s=0.05).start()
        registry.folder.write_json("live.json", {"release": "first", "previous": "second", "promoted_at": "now"})
        await asyncio.sleep(0.5)
        assert releases.current == "second", "the old release goes on serving"

    asyncio.run(story())
    asyncio.run(poisoned())


def test_a_replica_without_a_live_release_says_so(registry: Registry) -> None:
    with pytest.raises(ReleaseError, match=r"no release is live: run python -m serve\.promote"):
        asyncio.run(LiveReleases(registry, built, poll_s=1).start())


def test_the_pointer_is_a_small_json_file(registry: Registry) -> None:
    registry.promote("first")
    assert Live(**registry.folder.read_json("live.json")) == registry.live()
