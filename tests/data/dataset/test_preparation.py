"""Preparation, by real Ray: what comes out is sorted, split, counted, and the same each time."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed
from data.dataset import preparation
from data.dataset.preparation import prepare, refuse_replaced
from data.dataset.prepared import PreparedDataset
from data.sources.schema import DataError
from data.sources.survey import Survey, survey

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


@pytest.mark.slow
def test_the_same_input_gives_the_same_fingerprint(dataset: PreparedDataset, tiny: Config, tmp_path: Path) -> None:
    again = prepare(tiny.data, Folder.of(str(tmp_path)))
    assert again.folder.path != dataset.folder.path
    assert again.fingerprint == dataset.fingerprint


def test_a_whole_dataset_is_not_prepared_twice(dataset: PreparedDataset, tiny: Config) -> None:
    said: list[str] = []
    again = prepare(tiny.data, Folder.of(tiny.storage.root), said.append)
    assert again.folder == dataset.folder
    assert said == [f"dataset synthetic: already prepared in {dataset.folder}"]


def test_a_log_that_changes_while_it_is_read_is_refused(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that the survey has not seen would be written as unknown ones, without a word."""
    columns = {"item_id": ["x", "y", "z"] * 2, "time": [1, 2, 3] * 2}
    log = written(tmp_path, user_id=[*"aaabbb"], **columns)

    def then_changed(*of: Any) -> Survey:
        found = survey(*of)
        written(tmp_path, user_id=[*"aaaccc"], **columns)
        return found

    monkeypatch.setattr(preparation, "survey", then_changed)
    with pytest.raises(DataError, match="was changed while it was read: prepare it anew"):
        prepared(tmp_path, log)


def test_a_dataset_of_other_code_is_said_and_prepared_again_where_that_is_wanted(
    ray_session: None, tmp_path: Path
) -> None:
    dataset = prepared(tmp_path, written(tmp_path, user_id=["a"] * 3, item_id=["x", "y", "z"], time=[1, 2, 3]))
    of_code = dataset.manifest["code"]
    dataset.folder.write_json("manifest.json", dataset.manifest | {"code": "of before"})
    config, said = load([*MAPPING, f"data.source.interactions={tmp_path}/log.parquet"]), list[str]()
    storage = Folder.of(f"{tmp_path}/var")
    assert prepare(config.data, storage, said.append).manifest["code"] == "of before"
    assert said[0] == (
        f"dataset mine: already prepared in {dataset.folder}, by another version of the code or its libraries; remove"
        " it to prepare it again"
    )
    again = prepare(config.data, storage, same_code=True)
    assert (again.folder, again.fingerprint, again.manifest["code"]) == (dataset.folder, dataset.fingerprint, of_code)
    said.clear()
    prepare(config.data, storage, said.append, same_code=True)
    assert said[0] == f"dataset mine: already prepared in {dataset.folder}"
    dataset.folder.write_json("manifest.json", again.manifest | {"fingerprint": "of others"})
    with pytest.raises(NotSealed, match="has prepared it again while this one used it"):
        refuse_replaced(dataset)


def test_a_half_written_folder_is_not_a_dataset(dataset: PreparedDataset, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "items.parquet").write_bytes(b"")
    with pytest.raises(NotSealed, match="no dataset there"):
        PreparedDataset.open(Folder.of(str(tmp_path)) / "d")


@pytest.mark.slow
def test_users_in_many_parts_stay_whole(ray_session: None, tmp_path: Path) -> None:
    users = [f"u{i % 7}" for i in range(70)]
    log = written(tmp_path, user_id=users, item_id=[f"i{i // 7}" for i in range(70)], time=list(range(70)))
    dataset = prepared(tmp_path, [*log, "data.users_per_part=2"])
    assert len(dataset.paths("train")) == 4
    assert dataset.manifest["counts"] | {"train": 56, "validation": 7, "test": 7} == dataset.manifest["counts"]
    last = dataset.interactions("test")
    assert dataset.items.ids.ids(last["item_row"].to_numpy()).to_pylist() == ["i9"] * 7


@pytest.mark.slow
def test_light_interactions_are_left_out(ray_session: None, tmp_path: Path) -> None:
    log = written(
        tmp_path, user_id=["a"] * 4, item_id=["w", "x", "y", "z"], time=[1, 2, 3, 4], rating=[5.0, 5.0, 1.0, 5.0]
    )
    dataset = prepared(tmp_path, [*log, "+data.source.columns.weight=rating", "data.min_weight=4"])
    counts = dataset.manifest["counts"]
    assert (counts["raw_interactions"], counts["left_out"], counts["items"]) == (4, 1, 3)
    assert dataset.items.ids.values.to_pylist() == ["w", "x", "z"]
    assert dataset.interactions("train", "validation", "test").num_rows == 3


@pytest.mark.slow
def test_shares_of_a_split_are_of_the_interactions_that_are_kept(ray_session: None, tmp_path: Path) -> None:
    time = list(range(1_600_000_000, 1_600_000_100))
    heavy = [5.0] * 50 + [1.0] * 50  # the later half is left out
    log = written(tmp_path, user_id=["a", "b"] * 50, item_id=["x", "y"] * 50, time=time, rating=heavy)
    overrides = [*log, "+data.source.columns.weight=rating", "data.min_weight=4", "data.split.kind=temporal"]
    counts = prepared(tmp_path, overrides).manifest["counts"]
    assert (counts["train"], counts["validation"], counts["test"], counts["left_out"]) == (40, 5, 5, 50)


def with_items(tmp_path: Path, log: list[str], **columns: list) -> list[str]:
    """Overrides for the log with a table of items of these columns."""
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    return [*log, f"data.source.items={tmp_path}/items.parquet"]


@pytest.mark.slow
def test_a_log_whose_ids_never_meet_its_table_is_refused(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=["1.0", "2.0", "3.0"], time=[1, 2, 3])
    with pytest.raises(DataError, match=r"3 of 3 items of the log have no row in items, such as '1\.0'; 3 rows"):
        prepared(tmp_path, with_items(tmp_path, log, item_id=[1, 2, 3]))
    assert not list((tmp_path / "var").rglob("*.parquet"))
    met = written(tmp_path, user_id=["a"] * 3, item_id=[1.0, 2.0, 3.0], time=[1, 2, 3])
    found = prepared(tmp_path, with_items(tmp_path, met, item_id=[1, 2, 3])).manifest
    assert (found["counts"]["items"], found["coverage"]["items"]["num_known"]) == (3, 3)


@pytest.mark.slow
def test_what_is_found_out_is_said_and_stays_in_the_manifest(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=["x", "y", "z"], time=["2020-01-01 00:00:07 UTC"] * 3)
    tags = [["a", None, "nan"], None, [None]]
    overrides = with_items(tmp_path, log, item_id=["x", "v", "w"], tags=tags)
    config = load(
        [*overrides, "data.source.item_features=[{name: tags, kind: multi_categorical}]", f"storage.root={tmp_path}"]
    )
    said: list[str] = []
    dataset = prepare(config.data, Folder.of(config.storage.root), said.append)
    assert any("times from 2020-01-01T00:00:07Z to 2020-01-01T00:00:07Z (assumed" in line for line in said)
    assert any("values read as missing: items.tags 1" in line for line in said)
    note = "2 of 3 items of the log have no row in items, such as 'y'; 2 rows of items are not in the log, such as 'v'"
    assert dataset.notes == [note]
    assert sum(note in line for line in said) == 1
    assert dataset.items.table["tags"].to_pylist() == [[], [], ["a"], None, None]  # v, w, x, y, z
    said.clear()
    prepare(config.data, Folder.of(config.storage.root), said.append)
    assert [line.partition(": ")[2] for line in said[1:]] == [f"note: {note}"]


@pytest.mark.slow
def test_whether_a_log_has_a_clock_is_recorded(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=["x", "y", "z"], time=[18_170, 18_171, 18_172])
    days = prepared(tmp_path, [*log, "data.source.time_unit=days", "data.clock=seconds"])
    assert days.clock is not None and (days.clock.has_clock, days.clock.assumed) == (True, False)
    assert days.clock.formatted(days.clock.first) == "2019-10-01T00:00:00Z"
    order = prepared(tmp_path, [*log, "data.clock=order"])
    assert order.clock is not None and not order.clock.has_clock
    with pytest.raises(DataError, match=r"data\.split\.validation_from: 2019-10-01 needs a log with a clock"):
        dates = ["data.split.kind=temporal", "data.split.validation_from=2019-10-01", "data.split.test_from=2019-10-02"]
        prepared(tmp_path, [*log, "data.clock=order", *dates])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [], "item_id": [], "time": []}, "no interactions|empty"),
        ({"user_id": ["a"], "item_id": ["x"]}, "time"),
        ({"user_id": ["a"], "item_id": ["x"], "time": ["yesterday"]}, "yesterday"),
        ({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "time": [1.0, float("nan"), 2.0]}, "time"),
        ({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "time": [1, -5, 2]}, "time.*-5|-5.*time"),
        ({"user_id": ["a", None], "item_id": ["x", "y"], "time": [1, 2]}, "user_id"),
        pytest.param({"user_id": ["a"], "item_id": ["x"], "time": [1]}, "no test interactions", marks=pytest.mark.slow),
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


@pytest.mark.slow
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
