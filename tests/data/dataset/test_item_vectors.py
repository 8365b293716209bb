"""Datasets of a log with a file of items' vectors: whether their ids meet is said, and checked."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.sources.schema import DataError
from tests.data.dataset.test_preparation import prepared, with_items, written

pytestmark = pytest.mark.slow


def vectors(folder: Path, ids: list[str]) -> str:
    """The override for a file with a vector for each of these items."""
    table = {"item_id": ids, "text": [[float(number), 1.0] for number in range(len(ids))]}
    pq.write_table(pa.table(table), folder / "vectors.parquet")
    return f"data.item_vectors={folder}/vectors.parquet"


@pytest.mark.parametrize("has_items", [True, False])
def test_vectors_whose_ids_never_meet_are_refused(ray_session: None, tmp_path: Path, has_items: bool) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=["i1", "i2", "i3"], time=[1, 2, 3])
    overrides = with_items(tmp_path, log, item_id=["i1", "i2", "i3"]) if has_items else log
    message = (
        r"^data\.item_vectors: .*vectors\.parquet: 3 of 3 items of the log have no row in item_vectors, such as 'i1'; 3"
        r" rows of item_vectors are not in the log, such as '001': .*data\.item_vectors=null does without"
    )
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, [*overrides, vectors(tmp_path, ["001", "002", "003"])])
    assert not list((tmp_path / "var").rglob("*.parquet"))


def test_how_many_items_have_a_vector_is_said(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=["i1", "i2", "i3"], time=[1, 2, 3])
    overrides = [*with_items(tmp_path, log, item_id=["i1", "cold"]), vectors(tmp_path, [" i1", "i2", "i3", "cold"])]
    config, said = load([*overrides, f"storage.root={tmp_path}/var"]), list[str]()
    dataset = prepare(config.data, Folder.of(config.storage.root), said.append)
    line = "3 of 3 items of the log have a row in item_vectors; 1 rows of item_vectors are not in the log"
    assert any(line in text for text in said)
    assert dataset.manifest["coverage"]["item_vectors"]["num_known"] == 3
    found = dict(zip(*(dataset.items.table[name].to_pylist() for name in ("item_id", "text")), strict=True))
    assert found == {"i1": [0.0, 1.0], "i2": [1.0, 1.0], "i3": [2.0, 1.0], "cold": [3.0, 1.0]}


def test_few_vectors_are_a_note(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=["i1", "i2", "i3"], time=[1, 2, 3])
    dataset = prepared(tmp_path, [*log, vectors(tmp_path, ["i1"])])
    assert "2 of 3 items of the log have no row in item_vectors, such as 'i2'" in dataset.notes
