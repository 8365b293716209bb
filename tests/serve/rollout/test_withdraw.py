"""A mistyped id is said before a recall reports success."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve import withdraw
from serve.releases.registry import ReleaseRegistry
from serve.rollout.denylist import ITEM_ID, ITEMS, unknown_items


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
