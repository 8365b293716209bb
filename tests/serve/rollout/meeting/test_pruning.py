"""Pruning frees no collection that a promotion has asked for, and keeps nobody waiting who changes what serves."""

import asyncio
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config, load
from data.artifacts import leases
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost
from data.artifacts.seals import sealing
from serve.index.collection import unload
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.index.milvus_index import MilvusIndex
from serve.index.protocol import Hits, IndexUnavailable
from serve.releases.audit.history import read_history
from serve.releases.in_progress import InProgress, Operation
from serve.releases.pointer import staging
from serve.releases.prune import prune
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from serve.releases.verify import verify
from tests.serve.index.test_collection_names import Server
from tests.serve.rollout.meeting.world import pointer, three_releases

INDEX = load([]).index


def test_what_a_promotion_has_had_loaded_stays_loaded(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = {"r1", "r2", "r3"}

    def promotes() -> None:
        registry.update_pointer(lambda live: staging(live, ["r3"], "a promotion"))  # type: ignore[arg-type]
        loaded.add("r3")

    promotion = threading.Thread(target=promotes)

    def unloads(_: object, names: Iterable[str]) -> None:
        promotion.start()
        promotion.join(3)  # what is in use is looked up under the lock, for each collection
        loaded.difference_update(names)

    monkeypatch.setattr("serve.releases.prune.unload", unloads)
    prune(INDEX, registry, 9, lambda _: None)
    promotion.join(60)
    assert loaded == {"r1", "r2", "r3"}


def test_a_rollback_does_not_wait_for_what_milvus_drops(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for the files of a release that are deleted: both take minutes where releases are large."""
    registry.promote("r3")
    rollback, waits = threading.Thread(target=registry.rollback), list[bool]()

    def drops(*_: object) -> bool:
        rollback.start()
        rollback.join(10)
        waits.append(rollback.is_alive())
        return True

    monkeypatch.setattr("serve.releases.prune.unload", lambda _, names: list(names))
    monkeypatch.setattr("serve.releases.prune.drop", drops)
    assert prune(INDEX, registry, 1, lambda _: None).releases == ["r1"]
    rollback.join(60)
    assert (waits, pointer(registry).release) == ([False], "r2")


def test_a_prune_that_has_lost_its_lock_frees_nothing_more(bucket: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, freed = three_releases(bucket), list[str]()
    registry.rollback()  # `r1` alone is in use

    def unloads(_: object, names: Iterable[str]) -> None:
        for name in names:
            freed.append(name)
            monkeypatch.setattr(leases, "LEASE_S", 0.0)

    monkeypatch.setattr("serve.releases.prune.unload", unloads)
    with pytest.raises(LeaseLost):
        prune(INDEX, registry, 9, lambda _: None)
    assert freed == ["r2"]


def test_what_a_dead_process_has_staged_on_an_object_store_goes(
    bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = three_releases(bucket)
    (registry.folder / ".r4.0123abcd.partial").create().write_bytes("rows.json", b"[]")
    (registry.folder / ".r5.0123abcd.partial").create()
    monkeypatch.setattr("serve.releases.prune.unload", lambda _, names: list(names))
    assert prune(INDEX, registry, 9, lambda _: None).leftovers == []
    assert prune(INDEX, registry, 9, lambda _: None, grace_s=-60).leftovers == [".r4.0123abcd.partial"]


def test_files_that_a_live_process_copies_to_an_object_store_stay(
    bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that had begun the same release died; the next attempt has not sealed its files yet."""
    registry, dropped = three_releases(bucket), list[str]()

    def drops(_: object, name: str) -> bool:
        dropped.append(name)
        return True

    dead = InProgress("r4", "dead", Operation.publish, since=0.0, host="elsewhere")
    registry.in_progress.folder.write_json("dead.json", dead.as_json())
    registry.in_progress.set("r4", "alive", Operation.publish)
    registry.path("r4").create().write_bytes("rows.json", b"[]")
    monkeypatch.setattr("serve.releases.prune.unload", lambda _, names: list(names))
    monkeypatch.setattr("serve.releases.prune.drop", drops)
    prune(INDEX, registry, 9, lambda _: None)
    assert (dropped, registry.path("r4").files()) == (["dead"], ["rows.json"])
    registry.in_progress.clear("alive")
    registry.in_progress.folder.write_json("dead.json", dead.as_json())
    prune(INDEX, registry, 9, lambda _: None)
    assert registry.path("r4").files() == []


def test_a_collection_that_is_elsewhere_is_named(registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its release was published to another `index.uri`: nothing else would name it any more."""
    said: list[str] = []
    registry.promote("r3")
    monkeypatch.setattr("serve.releases.prune.unload", lambda _, names: list(names))
    monkeypatch.setattr("serve.releases.prune.drop", lambda *_: False)
    assert prune(INDEX, registry, 1, said.append).releases == ["r1"]
    assert [line for line in said if line.startswith(f"prune: collection r1 is not in Milvus at {INDEX.address}; if")]


def test_what_is_removed_is_in_the_history_also_where_milvus_does_not_answer(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise IndexUnavailable("no Milvus")

    registry.promote("r3")
    monkeypatch.setattr("serve.releases.prune.drop", fail)
    with pytest.raises(IndexUnavailable):
        prune(INDEX, registry, 1, lambda _: None)
    (entry,) = [entry for entry in read_history(registry.folder, 9) if "action" in entry]
    assert (entry["action"], entry["releases"], "r1" in registry.ids()) == ("prune", ["r1"], False)


def test_a_collection_that_a_server_refuses_by_its_name_stops_no_prune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version named it after a dataset in another script, and its marker was in the way for good."""
    registry, server = three_releases(Folder.of(str(tmp_path))), IndexConfig(uri="http://milvus:19530")
    refused = InProgress("größe-1a2b", "twotower_ray_größe_1a2b", Operation.publish, since=0.0, host="elsewhere")
    registry.in_progress.folder.create().write_json(f"{refused.collection}.json", refused.as_json())
    monkeypatch.setattr("serve.index.collection.connected", lambda _: nullcontext(Server()))
    prune(server, registry, 9, lambda _: None)
    assert registry.in_progress.all() == []


def test_what_a_publication_is_about_to_replace_is_dropped_once_it_is_replaced(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prune just before the release was sealed anew forgot its former collection, which then stayed in Milvus."""
    dropped: list[str] = []

    def drops(_: object, name: str) -> bool:
        dropped.append(name)
        return True

    monkeypatch.setattr("serve.releases.prune.unload", lambda _, names: list(names))
    monkeypatch.setattr("serve.releases.prune.drop", drops)
    registry.in_progress.set("r3", "anew", Operation.publish)
    registry.in_progress.set("r3", "r3", Operation.prune)
    assert prune(INDEX, registry, 9, lambda _: None).leftovers == dropped == []
    with sealing(registry.path("r3"), {"kind": "release", "created_at": "r3", "collection": "anew"}) as staged:
        staged.write_json("rows.json", ["r3"])
    registry.in_progress.clear("anew")
    assert prune(INDEX, registry, 9, lambda _: None).leftovers == dropped == ["r3"]
    assert registry.in_progress.all() == []


@pytest.mark.slow
def test_what_a_prune_frees_while_a_promotion_verifies_it_is_loaded_again(
    tiny: Config, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promotion ended with an error that told to check whether Milvus runs."""
    registry, freed, search = ReleaseRegistry.of(Folder.of(tiny.storage.root)), list[str](), MilvusIndex.search

    async def searches(index: MilvusIndex, *asked: Any, **more: Any) -> Hits:
        if not freed:
            freed.append(release.collection)
            await asyncio.to_thread(unload, tiny.index, freed)
        return await search(index, *asked, **more)

    unload(tiny.index, [release.collection])
    monkeypatch.setattr(MilvusIndex, "search", searches)
    with connected(tiny.index):  # an owner of the .db, which stays loaded or not as a server does
        assert verify(tiny.index, registry, release.id, lambda _: None)["num_items"] == release.manifest["num_items"]
    assert freed == [release.collection]
