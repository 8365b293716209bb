"""What a new model lacks of the live release's items is counted and named."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from conf.schema import Config
from data.dataset.catalogue import Catalogue
from data.sources.schema import Feature, FeatureKind
from serve.releases.gate.gate import run_gate
from serve.releases.gate.lost_items import lost_items
from serve.releases.release import Release
from towers.checkpoint.checkpoint import Checkpoint

GENRE = Feature(name="genre", kind=FeatureKind.categorical)


def catalogue(genres: dict[str, str | None]) -> Catalogue:
    """Items in this order, each with its genre."""
    ids = list(genres)
    rows = pa.array(range(1, len(ids) + 1), pa.int32())
    genre = pa.array(list(genres.values()), GENRE.kind.arrow_type)
    columns = {"row": rows, "item_id": pa.array(ids), "title": pa.array(ids, pa.large_string()), "genre": genre}
    return Catalogue("item_id", pa.table(columns), (GENRE,))


def live(genres: dict[str, str | None], **manifest: Any) -> Release:
    parts = SimpleNamespace(items=catalogue(genres))
    return Release("shop-1", manifest, cast(Checkpoint, parts))


def test_what_a_refresh_has_brought_and_the_log_does_not_have() -> None:
    refreshed = live(
        {"a": "rock", "b": "jazz", "d": "pop", "new": "pop"}, refreshed={"from": "shop-0"}, withdrawn=["d"]
    )
    lost = lost_items(refreshed, catalogue({"a": "rock", "b": "rock", "c": "folk"}))
    assert (lost.num_live, lost.num_lost, lost.examples, lost.num_changed) == (3, 1, ["new"], 1)
    assert lost.share == pytest.approx(1 / 3)
    assert f"{lost}".startswith(
        "beside the live release shop-1, this one lacks 1 of its 3 items (new) and describes 1 of them otherwise; items"
    )


def test_nothing_is_said_of_what_the_log_itself_has_changed() -> None:
    assert not lost_items(live({"a": "rock"}), catalogue({"a": "jazz", "b": "folk"}))
    more = lost_items(live({f"i{n}": None for n in range(9)}), catalogue({"a": "jazz"}))
    assert "lacks 9 of its 9 items (i0, i1, i2, i3, i4, ...); items" in f"{more}"


def test_the_gate_says_it(tiny: Config, checkpoint: Checkpoint, release: Release) -> None:
    items = release.parts.items
    ids = pa.array(["gone", *items.table["item_id"].to_pylist()[1:]], items.table["item_id"].type)
    renamed = items.with_table(items.table.set_column(1, "item_id", ids))
    before = replace(release, parts=replace(release.parts, items=renamed))
    for live, said in ((release, []), (before, [f"lacks 1 of its {len(ids)} items (gone)"])):
        notes = run_gate(tiny.gate, tiny.evaluate, checkpoint, live).notes
        assert [note.partition("this one ")[2].partition(";")[0] for note in notes if "this one" in note] == said
