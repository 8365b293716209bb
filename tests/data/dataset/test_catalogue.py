"""Catalogues as they are read from their files."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue
from data.dataset.catalogue_update import notes_on, updated
from data.dataset.coverage import look_alike_notes
from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.features import FeatureEncoder

KINDS = ("categorical", "multi_categorical", "text")

MANY = 300_000
"""Rows of which Parquet's reader makes several chunks."""


def test_a_large_table_is_in_one_piece(tmp_path: Path) -> None:
    """To take some rows of several chunks, Arrow looks at all rows: 6 ms of a million, in the middle of a request."""
    folder = Folder.of(str(tmp_path))
    ids = pa.array(np.arange(MANY)).cast(pa.string())
    folder.write_table("items.parquet", pa.table({"item_id": ids, "title": ids}))
    assert folder.read_table("items.parquet")["title"].num_chunks > 1
    table = Catalogue.load(folder, "items", "item_id", []).table
    assert {column.num_chunks for column in table.columns} == {1}


def test_ids_and_features_are_used_without_copies(tmp_path: Path) -> None:
    """Millions of ids were in memory twice, and a third time for a moment wherever features were encoded."""
    folder, rows = Folder.of(str(tmp_path)), np.arange(1, MANY + 1)
    counts = {f"{split}_count": np.ones(MANY, np.int64) for split in ("train", "validation", "test")}
    ids = pa.array([f"user-{row:030d}" for row in rows.tolist()])
    folder.write_table("users.parquet", pa.table({"row": rows, "user_id": ids} | counts))
    users = Catalogue.load(folder, "users", "user_id", [])
    assert users.ids.values.buffers()[2].address == users.table["user_id"].chunk(0).buffers()[2].address
    pool = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(pool)
    pa.set_memory_pool(counting)
    try:
        encoder = FeatureEncoder.fit(users, np.ones(MANY, dtype=bool))
        assert encoder.encode(users.table).numbers_NF.shape == (MANY + 1, 0)
        assert not look_alike_notes("users", users.ids.values)
    finally:
        pa.set_memory_pool(pool)
    assert counting.max_memory() < ids.nbytes


def test_ids_that_nobody_asks_for_are_not_in_memory(tmp_path: Path) -> None:
    """Of millions of users they take most of a driver's memory; the table is the same as if they had been read."""
    folder, rows = Folder.of(str(tmp_path)), np.arange(1, MANY + 1)
    ids = pa.array([f"user-{row:030d}" for row in rows.tolist()])
    Catalogue("user_id", pa.table({"row": rows, "user_id": ids, "train_count": rows}), ()).save(folder, "users")
    before = pa.total_allocated_bytes()
    users = Catalogue.load(folder, "users", "user_id", [], as_asked=True)
    assert pa.total_allocated_bytes() - before < ids.nbytes
    assert interaction_counts(users, FittedSplits.train).tolist() == [0, *rows.tolist()]
    assert (users.num_ids, users.num_rows) == (MANY, MANY + 1)
    assert "ids" not in vars(users)
    assert users.held.column_names == ["row"]
    assert pickle.loads(pickle.dumps(users)).ids.values.equals(ids)
    assert users.table.equals(Catalogue.load(folder, "users", "user_id", []).table)
    other = Folder.of(str(tmp_path / "other"))
    for name in ("users", "again"):
        users.save(other, name)
        assert other.read_bytes(f"{name}.parquet") == folder.read_bytes("users.parquet")
    fewer = users.with_table(users.table.slice(0, 2))
    assert (fewer.num_rows, len(fewer.ids)) == (3, 3)


def test_a_feature_may_be_called_a_count() -> None:
    """Such as review_count: only the numbers of interactions are the catalogue's own."""
    rows = pa.table({"item_id": ["a", "b"], "title": ["A", "B"], "review_count": [7.0, 9.0]})
    table = pa.table({"row": pa.array([1, 2], pa.int32())} | dict(zip(rows.column_names, rows.columns, strict=True)))
    items = Catalogue(
        "item_id", table.append_column("train_count", pa.array([5, 6])), (Feature(name="review_count", kind="numeric"),)
    )
    new = pa.table({"item_id": ["b", "c"], "title": ["B", "C"], "review_count": [8.0, None]})
    update = updated(items, new)
    assert update.items.table.to_pydict() == {
        "row": [1, 2, 3],
        "item_id": ["a", "b", "c"],
        "title": ["A", "B", "C"],
        "review_count": [7.0, 8.0, None],
        "train_count": [5, 6, 0],
    }
    assert (update.added.to_pylist(), update.changed.to_pylist()) == (["c"], ["b"])


def test_values_that_the_model_does_not_know_are_said() -> None:
    """Trained on Parquet, whose booleans are "true", and refreshed from CSV, all were unknown without a word."""
    features = (*(Feature(name=n, kind=k) for n, k in zip(("is_new", "sizes", "words"), KINDS, strict=True)),)
    table = {"row": [1, 2], "item_id": ["a", "b"], "title": ["A", "B"], "is_new": ["true", "false"]}
    table |= {"sizes": [["7"], ["40"]], "words": ["some", "words"]}
    known = {"is_new": ["false", "true"], "sizes": ["40", "7"], "words": ["some", "words"]}
    vocabularies = {name: Vocabulary(pa.array(values)) for name, values in known.items()}
    items = Catalogue("item_id", pa.table(table), features, vocabularies)
    more = {
        "item_id": ["c", "d"],
        "title": pa.nulls(2, pa.string()),
        "is_new": ["True", None],
        "sizes": [["7.0", "XL"], ["40"]],
    }
    rows = pa.table(more | {"words": ["others", None]})
    of_new, of_sizes = notes_on(items, updated(items, rows), rows)
    said = "feature {!r}: the model does not know {}, such as {!r}, where it knows {!r}: they count as unknown"
    assert of_new.startswith(said.format("is_new", "1 of 1 values", "True", "true"))
    assert of_sizes.startswith(said.format("sizes", "2 of 3 values", "7.0", "7"))
    same = pa.table({name: values for name, values in table.items() if name != "row"})
    assert notes_on(items, updated(items, same), same) == []
