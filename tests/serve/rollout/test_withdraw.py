"""A recall reports success neither for a mistyped id, nor while a replica may still answer with the items."""

import asyncio
import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve import withdraw
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.denylist import ITEM_ID, ITEMS, deny, unknown_items
from serve.rollout.heartbeats import HEARTBEAT_TIMEOUT_S, REPLICAS, Heartbeat, ReplicaRegistry
from tests.serve.rollout.test_two_phase import registry as three_releases
from tests.serve.rollout.test_two_phase import replica, replicas

__all__ = ["three_releases"]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleaseRegistry:
    """Release `a`, which has an item that no other has, and `b`, which is live."""
    monkeypatch.setattr(ReleaseRegistry, "manifest", lambda *_: {})
    monkeypatch.setattr(ReleaseRegistry, "ids", lambda _: ["a", "b"])
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    for release_id, items in {"a": ["i1", "old"], "b": ["i1", "i2"]}.items():
        registry.path(release_id).create()
        parquet.write_table(pa.table({ITEM_ID: ["", *items]}), f"{registry.path(release_id).path}/{ITEMS}")
    registry.promote("b")
    return registry


def test_ids_that_no_release_has_are_named(registry: ReleaseRegistry) -> None:
    assert unknown_items(registry, ["i2"]) == []
    assert unknown_items(registry, ["i0OO2", "old", "i1", "i 1"]) == ["i 1", "i0OO2"]


def test_a_recall_of_one_changes_nothing_unless_it_is_meant(registry: ReleaseRegistry, tmp_path: Path) -> None:
    before, root = registry.live(), f"storage.root={tmp_path}"
    with pytest.raises(ConfigError, match=r"items: i0OO2: in no release; nothing was withdrawn.*force=true"):
        withdraw.task(load([root, "items=[i1,i0OO2]", "reason=recalled"]))
    with pytest.raises(ConfigError, match=r"items: i1: not on the denylist; nothing was restored"):
        withdraw.task(load([root, "items=[i1]", "restore=true"]))
    assert registry.live() == before
    meant = withdraw.task(load([root, "items=[i1,i0OO2]", "reason=recalled", "force=true"]))
    assert set(meant["withdrawn"]) == {"i1", "i0OO2"}
    assert withdraw.task(load([root, "items=[i0OO2]", "restore=true"]))["withdrawn"].keys() == {"i1"}


class View:
    """The storage as one replica sees it, which can be taken away from it alone."""

    def __init__(self, storage: Path, at: Path) -> None:
        self._storage, self._at = storage, at
        at.symlink_to(storage)
        self.registry = ReleaseRegistry.of(Folder.of(str(at)))

    def cut_off(self) -> None:
        self._at.unlink()
        self._at.touch()

    def connect(self) -> None:
        self._at.unlink()
        self._at.symlink_to(self._storage)


@pytest.fixture
def view(three_releases: ReleaseRegistry, tmp_path: Path) -> View:
    return View(tmp_path, tmp_path.with_name(f"{tmp_path.name}-view"))


async def test_a_recall_waits_for_a_replica_that_is_cut_off_and_names_it(
    three_releases: ReleaseRegistry, view: View, tmp_path: Path
) -> None:
    async with replicas(replica(view.registry, "cut-off", lease_s=0.2)) as (cut_off,):
        view.cut_off()
        (named,) = (await asyncio.to_thread(deny, three_releases, ["i1"], "recalled", 1)).may_answer
        assert named.startswith("cut-off on ")
        assert (await cut_off.live(), cut_off.is_stale) == ("first", True), "it answers, without the denylist"
        last = tmp_path / "releases" / REPLICAS / "cut-off.json"
        os.utime(last, times=(time.time(), time.time() - HEARTBEAT_TIMEOUT_S - 5))
        assert (await asyncio.to_thread(deny, three_releases, ["i1"], "recalled", 1)).may_answer == [named]
        recall = asyncio.ensure_future(asyncio.to_thread(deny, three_releases, ["i1"], "recalled", 60))
        await asyncio.sleep(0.5)
        assert not recall.done()
        view.connect()
        assert (await recall).may_answer == []


async def test_a_replica_that_refuses_while_it_is_cut_off_is_not_waited_for(
    three_releases: ReleaseRegistry, view: View
) -> None:
    async with replicas(replica(view.registry, "cut-off", lease_s=0.2, answers_stale=False)):
        view.cut_off()
        assert (await asyncio.to_thread(deny, three_releases, ["i1"], "recalled", 60)).may_answer == []


def test_the_command_says_who_may_still_answer_and_fails(registry: ReleaseRegistry, tmp_path: Path) -> None:
    """The heartbeat is of an earlier version, which does not say what its replica does while it is cut off."""
    heartbeat = Heartbeat(replica="cut-off", host="elsewhere", current="b", holds={"b": 1.0}).as_json()
    del heartbeat["answers_stale"]
    ReplicaRegistry.of(registry.folder).folder.write_json("cut-off.json", heartbeat)
    recall = [f"storage.root={tmp_path}", "serve.ready_within_s=0.2", "items=[i1]", "reason=recalled"]
    with pytest.raises(ReleaseError, match=r"items: i1: .* but cut-off on elsewhere may still answer with them"):
        withdraw.task(load(recall))
    ReplicaRegistry.of(registry.folder).remove("cut-off")
    assert set(withdraw.task(load(recall))["withdrawn"]) == {"i1"}


def test_a_damaged_heartbeat_may_be_of_a_replica_that_answers(registry: ReleaseRegistry, tmp_path: Path) -> None:
    replicas = ReplicaRegistry.of(registry.folder)
    replicas.folder.create().write_bytes("cut.json", b"")
    recall = [f"storage.root={tmp_path}", "serve.ready_within_s=0.2", "items=[i1]", "reason=recalled"]
    with pytest.raises(ReleaseError, match=r"items: i1: .* but cut on .*cut\.json: not a heartbeat.* may still answer"):
        withdraw.task(load(recall))
    replicas.remove("cut")
    assert set(withdraw.task(load(recall))["withdrawn"]) == {"i1"}


def test_an_item_that_is_named_twice_is_one_item(
    registry: ReleaseRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    withdraw.task(load([f"storage.root={tmp_path}", "items=[i1,i1]", "reason=recalled"]))
    assert "withdraw: 1 items are in no answer" in capsys.readouterr().out


@pytest.mark.parametrize("reason", ["''", "' '", "'\t'"])
def test_a_blank_reason_is_none(reason: str) -> None:
    with pytest.raises(ConfigError, match=r"reason: '.*' is blank; say why, reason='\.\.\.', or leave it out"):
        load([f"reason={reason}"])


def test_a_release_whose_items_cannot_be_read_does_not_end_a_recall(
    registry: ReleaseRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (Path(registry.path("a").path) / ITEMS).write_bytes(b"PAR1cut")
    assert unknown_items(registry, ["i2", "old"]) == ["old"]
    assert f"a/{ITEMS}: cannot be read" in caplog.text
