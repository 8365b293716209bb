"""Releases: published once, verified, promoted by one atomic step; a damaged one never takes traffic."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import NotSealed
from serve.deployment.replica import ReplicaSettings
from serve.deployment.stages.local import build_reranker, build_retriever, build_user_encoder
from serve.index.collection import drop, list_collections
from serve.index.config import Algorithm, IndexConfig
from serve.index.connection import connected
from serve.index.protocol import IndexUnavailable, made_again
from serve.releases.building import build
from serve.releases.building.restore import as_published
from serve.releases.building.seal import seal_release
from serve.releases.golden_queries import GOLDEN_FILE, read_golden
from serve.releases.lineage import find_releases, lineage_of
from serve.releases.model_card import CARD_FILE
from serve.releases.pointer import LivePointer, rolled_back
from serve.releases.prune import prune
from serve.releases.publish import _draft, publish
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.rollout.promotion import promote
from towers.checkpoint.checkpoint import Checkpoint, load


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> ReleaseRegistry:
    """A registry of its own with two releases, `first` and `second`, copies of the real one."""
    for name in ("first", "second"):
        shutil.copytree(release.parts.folder.path, tmp_path / "releases" / name)
    return ReleaseRegistry.of(Folder.of(str(tmp_path)))


def damage(registry: ReleaseRegistry, release_id: str, name: str) -> None:
    path = Path(registry.path(release_id).path) / name
    path.write_bytes(path.read_bytes()[:-1])


def test_publishing_again_finds_the_release(tiny: Config, checkpoint: Checkpoint, release: Release) -> None:
    said: list[str] = []
    assert publish(tiny.index, checkpoint, Folder.of(tiny.storage.root), said.append) == release.id
    assert said[-1] == f"publish: release {release.id} is already published"


def id_of(takes_types: bool = False, types: Sequence[str] = (), smoothing: float = 0.0, **manifest: object) -> str:
    named = {"event_types": {"types": [{"name": name} for name in types]}} if types else {}
    model = {"history_types": takes_types, "smoothing": smoothing}
    manifest |= {"dataset": {"name": "shop"}, "fingerprint": "12ab", "model": model} | named
    return _draft(IndexConfig(), cast(Checkpoint, SimpleNamespace(name="shop-1", manifest=manifest))).id


def test_what_decides_answers_beside_the_files_is_content_of_a_release() -> None:
    """Two checkpoints that differ in it alone may have equal files: the other one's release was already published."""
    before = "shop-" + hashlib.sha256(b"12ab FLAT").hexdigest()[:10]
    assert id_of() == id_of(context={}) == id_of(types=["buy"]) == id_of(placement={"by_features": False}) == before
    assert len({before, id_of(context={"device": ["web"]}), id_of(context={"platform": ["web"]})}) == 3
    assert len({before, id_of(True, ["buy", "view"]), id_of(True, ["buy", "visit"])}) == 3
    goals: list[dict[str, float]] = [{"buy": 1.0, "hide": -1.0}, {"hide": -1.0, "buy": 1.0}, {"buy": 5.0}]
    of_goals = [id_of(rerank={"goals": of}) for of in goals]
    weighed = [id_of(smoothing=0.01), id_of(smoothing=0.1), id_of(cold_items={"length": 0.9})]
    assert len({before, *of_goals, *weighed, id_of(placement={"by_features": True})}) == 8


def test_a_lost_collection_is_published_again(tiny: Config, checkpoint: Checkpoint, tmp_path: Path) -> None:
    storage, index = Folder.of(str(tmp_path)), replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    release_id, registry = publish(index, checkpoint, storage), ReleaseRegistry.of(storage)
    drop(index, registry.manifest(release_id)["collection"])
    assert publish(index, checkpoint, storage) == release_id
    before = registry.manifest(release_id)["collection"]
    with connected(index) as client:
        assert list_collections(client, index) == [before]
        client.delete(before, ids=[1], timeout=10)
        assert publish(index, checkpoint, storage) == release_id, "one item is lost"
        prune(index, registry, 9, lambda _: None)
        now = registry.open_served(release_id).collection_now()
        assert now != before
        assert list_collections(client, index) == [now], "nothing names the one of before"


def test_a_release_with_a_damaged_file_is_published_again(
    tiny: Config, checkpoint: Checkpoint, release: Release, tmp_path: Path
) -> None:
    said: list[str] = []
    storage, index = Folder.of(str(tmp_path)), replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    registry = ReleaseRegistry.of(storage)
    shutil.copytree(release.parts.folder.path, registry.path(release.id).path)
    damage(registry, release.id, "model.safetensors")
    assert publish(index, checkpoint, storage, said.append, may_move=True) == release.id
    assert any("model.safetensors: missing or changed" in line and "; publishing the" in line for line in said)
    registry.open(release.id)


def test_what_is_sealed_keeps_its_collection_whatever_fails_then(
    tiny: Config, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an object store that does not delete what was staged, or Ctrl-C."""

    def sealed_and_stopped(*arguments: Any) -> None:
        seal_release(*arguments)
        raise KeyboardInterrupt

    dropped: list[str] = []
    monkeypatch.setattr(build, "write_collection", lambda *_: checkpoint.items.table.num_rows)
    monkeypatch.setattr(build, "check_recall", lambda *_: 1.0)
    monkeypatch.setattr(build, "seal_release", sealed_and_stopped)
    monkeypatch.setattr(build, "drop", lambda _, name: dropped.append(name))
    with pytest.raises(KeyboardInterrupt):
        publish(tiny.index, checkpoint, Folder.of(str(tmp_path)))
    assert (len(ReleaseRegistry.of(Folder.of(str(tmp_path))).ids()), dropped) == (1, [])


def test_a_release_carries_what_it_serves(release: Release) -> None:
    names = {"kind", "collection", "num_items", "metrics", "floors", "dataset", "checkpoint", "created_at", "config"}
    assert names <= release.manifest.keys()
    assert release.manifest["index_recall@20"] == 1.0
    assert {"model.safetensors", "reranker.safetensors", GOLDEN_FILE} <= release.manifest["files"].keys()
    assert len(read_golden(release)) == 8


def test_a_collection_that_is_made_again_has_the_algorithm_of_the_published_one(release: Release) -> None:
    assert release.manifest[build.ALGORITHM] == "flat"
    said: list[str] = []
    server, lite = IndexConfig(uri="http://milvus:19530"), IndexConfig(uri="x.db")
    assert as_published(server, "a", release.manifest, said.append) is server
    assert said == []
    assert as_published(server, "a", {build.ALGORITHM: "hnsw"}, said.append).algorithm is Algorithm.hnsw
    assert as_published(lite, "a", {build.ALGORITHM: "hnsw"}, said.append) is lite
    assert as_published(server, "a", {}, said.append) is server
    was = "publish: release a was published with index.algorithm=hnsw"
    assert said == [
        f"{was}, and the collection that is made now gets that, not flat",
        f"{was}, which is not possible with index.uri={lite.address}; taking flat",
        "publish: by which index.algorithm release a was published is not recorded; taking flat",
    ]


def test_nothing_is_left_where_milvus_does_not_answer(checkpoint: Checkpoint, tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    with pytest.raises(IndexUnavailable, match=r"no Milvus at http://127\.0\.0\.1:1 .* set index\.uri"):
        publish(IndexConfig(uri="http://127.0.0.1:1"), checkpoint, storage)
    assert ReleaseRegistry.of(storage).ids() == []


def test_promotion_moves_the_pointer_and_remembers(registry: ReleaseRegistry) -> None:
    assert registry.live() is None
    assert registry.promote("first").release == "first"
    assert registry.promote("second").release == "second"
    live = registry.live()
    assert live is not None
    assert (live.release, live.previous) == ("second", "first")
    assert registry.promote("second") == live, "promoting the live release changes nothing"


def test_promoting_what_is_not_there_names_what_is(tiny: Config, registry: ReleaseRegistry, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"'third': no such release \(there are: first, second\)"):
        registry.promote("third")
    with pytest.raises(ReleaseError, match="no release to promote; run python -m serve.publish"):
        promote(tiny.index, ReleaseRegistry.of(Folder.of(str(tmp_path / "empty"))), None, 1)
    assert registry.live() is None


def test_a_half_written_release_does_not_exist(registry: ReleaseRegistry) -> None:
    (Path(registry.path("second").path) / MANIFEST).unlink()
    assert registry.ids() == ["first"]


def test_a_changed_file_is_refused(registry: ReleaseRegistry) -> None:
    damage(registry, "second", "model.safetensors")
    with pytest.raises(NotSealed, match=r"model\.safetensors: missing or changed"):
        registry.open("second")


def rewritten(registry: ReleaseRegistry, **changed: Any) -> Release:
    """The first release with golden queries that expect something else."""
    path = Path(registry.path("first").path) / GOLDEN_FILE
    golden = json.loads(path.read_text())
    path.write_text(json.dumps([one | changed for one in golden]))
    return replace(registry.open("second"), id="first", parts=load(registry.path("first"), registry.manifest("first")))


async def test_golden_queries_that_do_not_come_out_are_refused(
    tiny: Config, registry: ReleaseRegistry, release: Release
) -> None:
    dim, count = release.parts.model.config.embedding_dim, len(read_golden(release)[0].candidates)
    settings = ReplicaSettings(storage_root=tiny.storage.root, index=tiny.index, serve=tiny.serve, auth=tiny.auth)
    wrong = rewritten(registry, vector=[0.0] * dim)
    with pytest.raises(ReleaseError, match="golden query of user row .*: the user's vector is off by"):
        await build_user_encoder(settings, wrong)
    with pytest.raises(ReleaseError, match=rf"the index finds 0\.\d+ of .*, 0\.95 at least .*, {made_again('first')}"):
        await build_retriever(settings, rewritten(registry, candidates=list(range(1, count + 1)), scores=[9.0] * count))
    with pytest.raises(ReleaseError, match="golden query of user row .*: re-ranking is off by"):
        await build_reranker(settings, rewritten(registry, ranked=[0.0] * count))


def test_the_pointer_is_a_small_json_file(registry: ReleaseRegistry) -> None:
    registry.promote("first")
    assert LivePointer.of_json(registry.folder.read_json("live.json")) == registry.live()


def test_what_a_later_version_wrote_into_the_pointer_stays(registry: ReleaseRegistry) -> None:
    registry.promote("first")
    added = {"region": "eu", "limits": {"k": 5}}
    registry.folder.write_json("live.json", registry.folder.read_json("live.json") | added)
    registry.promote("second")
    registry.update_pointer(rolled_back)
    written = registry.folder.read_json("live.json")
    assert {key: written[key] for key in added} == added
    assert (written["release"], written["rolled_back"]) == ("first", "second")
    assert "later" not in written


def test_a_card_says_what_it_is_and_where_it_comes_from(tiny: Config, release: Release) -> None:
    text = release.parts.folder.read_bytes(CARD_FILE).decode()
    ndcg = release.manifest["reranked"]["ndcg@20"]
    for part in (
        release.id,
        "## Intended use",
        f"{ndcg:.4f}",
        "popularity",
        release.manifest["dataset"]["fingerprint"],
    ):
        assert part in text
    assert len(release.manifest["lineage"]["commit"] or "0" * 40) == 40
    assert release.manifest["lineage"]["versions"]["torch"].startswith("2.13.0")


def test_from_what_it_comes_of_back_to_the_release(tiny: Config, release: Release) -> None:
    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    of = lineage_of(release.manifest)
    for name in ("checkpoint", "checkpoint fingerprint", "dataset fingerprint"):
        assert release.id in find_releases(registry, of[name][:12])
    with pytest.raises(ReleaseError, match="find: 'nonsense' begins no release's checkpoint"):
        find_releases(registry, "nonsense")
