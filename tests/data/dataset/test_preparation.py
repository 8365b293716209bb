"""Preparation, by real Ray: what comes out is sorted, split, counted, and the same each time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.sources.schema import DataError

MAPPING = ("data=parquet", "data.name=mine", "data.split.kind=leave_last_out")


def written(folder: Path, **columns: list) -> list[str]:
    """Overrides for a log of these columns, written as Parquet."""
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "log.parquet")
    return [*MAPPING, f"data.source.interactions={folder}/log.parquet"]


def prepared(tmp_path: Path, overrides: list[str]) -> PreparedDataset:
    config = load([*overrides, f"storage.root={tmp_path}/var"])
    return prepare(config.data, Folder.of(config.storage.root))


def test_counts_and_manifest(dataset: PreparedDataset) -> None:
    counts = dataset.manifest["counts"]
    parts = {split: dataset.interactions(split).num_rows for split in ("train", "validation", "test")}
    assert {split: counts[split] for split in parts} == parts
    assert sum(parts.values()) == counts["raw_interactions"]
    assert (dataset.items.table["train_count"].to_numpy().sum()) == parts["train"]
    by_item = np.bincount(dataset.interactions("train")["item_row"].to_numpy(), minlength=counts["items"] + 1)
    assert by_item[1:].tolist() == dataset.items.table["train_count"].to_pylist()


def test_each_split_is_sorted_by_user_then_time(dataset: PreparedDataset) -> None:
    table = dataset.interactions("train")
    order = np.lexsort((table["time"].to_numpy(), table["user_row"].to_numpy()))
    assert (order == np.arange(table.num_rows)).all()
    users = table["user_row"].to_numpy()
    assert table["position"].to_pylist() == (np.arange(len(users)) - np.searchsorted(users, users)).tolist()


def test_temporal_split_keeps_the_future_out_of_train(dataset: PreparedDataset) -> None:
    latest, earliest = (
        fold(dataset.interactions(split)["time"].to_numpy()) for split, fold in (("train", np.max), ("test", np.min))
    )
    assert latest < earliest


def test_the_same_input_gives_the_same_fingerprint(dataset: PreparedDataset, tiny: Config, tmp_path: Path) -> None:
    again = prepare(tiny.data, Folder.of(str(tmp_path)))
    assert again.folder.path != dataset.folder.path
    assert again.fingerprint == dataset.fingerprint


def test_a_whole_dataset_is_not_prepared_twice(dataset: PreparedDataset, tiny: Config) -> None:
    said: list[str] = []
    again = prepare(tiny.data, Folder.of(tiny.storage.root), said.append)
    assert again.folder == dataset.folder
    assert said == [f"dataset synthetic: already prepared in {dataset.folder}"]


def test_a_half_written_folder_is_not_a_dataset(dataset: PreparedDataset, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "items.parquet").write_bytes(b"")
    with pytest.raises(NotSealed, match="no dataset there"):
        PreparedDataset.open(Folder.of(str(tmp_path)) / "d")


def test_users_in_many_parts_stay_whole(ray_session: None, tmp_path: Path) -> None:
    users = [f"u{i % 7}" for i in range(70)]
    log = written(tmp_path, user_id=users, item_id=[f"i{i // 7}" for i in range(70)], time=list(range(70)))
    dataset = prepared(tmp_path, [*log, "data.users_per_part=2"])
    assert len(dataset.paths("train")) == 4
    assert dataset.manifest["counts"] | {"train": 56, "validation": 7, "test": 7} == dataset.manifest["counts"]
    last = dataset.interactions("test")
    assert dataset.items.ids.ids(last["item_row"].to_numpy()).to_pylist() == ["i9"] * 7


def test_light_interactions_are_left_out(ray_session: None, tmp_path: Path) -> None:
    log = written(
        tmp_path, user_id=["a"] * 4, item_id=["w", "x", "y", "z"], time=[1, 2, 3, 4], rating=[5.0, 5.0, 1.0, 5.0]
    )
    dataset = prepared(tmp_path, [*log, "+data.source.columns.weight=rating", "data.min_weight=4"])
    assert dataset.manifest["counts"]["raw_interactions"] == 4
    assert dataset.interactions("train", "validation", "test").num_rows == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [], "item_id": [], "time": []}, "no interactions|empty"),
        ({"user_id": ["a"], "item_id": ["x"]}, "time"),
        ({"user_id": ["a"], "item_id": ["x"], "time": ["yesterday"]}, "yesterday"),
        ({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "time": [1.0, float("nan"), 2.0]}, "time"),
        ({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "time": [1, -5, 2]}, "time.*-5|-5.*time"),
        ({"user_id": ["a", None], "item_id": ["x", "y"], "time": [1, 2]}, "user_id"),
        ({"user_id": ["a"], "item_id": ["x"], "time": [1]}, "no test interactions"),
    ],
)
def test_a_bad_log_is_one_clear_error_and_leaves_nothing(
    ray_session: None, tmp_path: Path, columns: dict, message: str
) -> None:
    log = written(tmp_path, **columns)
    with pytest.raises(DataError, match=message) as caught:
        prepared(tmp_path, log)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "var").rglob("*.parquet"))


def test_a_missing_file_is_named(ray_session: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.parquet"):
        prepared(tmp_path, [*MAPPING, "data.source.interactions=/nowhere.parquet"])


def test_duplicate_items_are_named(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=["x", "y", "z"], time=[1, 2, 3])
    pq.write_table(pa.table({"item_id": ["x", "x"]}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match="'x'"):
        prepared(tmp_path, [*log, f"data.source.items={tmp_path}/items.parquet"])


def test_interactions_without_a_split_are_not_lost_silently(ray_session: None, tmp_path: Path) -> None:
    log = {
        "user_id": ["a"] * 4,
        "item_id": list("wxyz"),
        "time": [1, 2, 3, 4],
        "split": ["train", "test", None, "train"],
    }
    overrides = [*written(tmp_path / "log", **log), "data.split.kind=given", "data.source.columns.split=split"]
    with pytest.raises(DataError, match="1 of 4 interactions have no split"):
        prepared(tmp_path, overrides)
