"""Datasets of logs with event types and with ratings: what is a positive, what a negative, and what has been seen."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.dataset.interactions import split_of_others
from data.dataset.prepared import PreparedDataset
from data.sources.event_types import is_negative
from data.sources.schema import DataError
from tests.data.dataset.test_preparation import prepared, written

TYPES = [
    "data.source.columns.type=event",
    "data.events={buy: {weight: 5}, view: {seen: false}, hide: {sign: negative}, shown: {sign: ignore},"
    " owned: {sign: ignore, seen: true}}",
]


def pairs(dataset: PreparedDataset, table: pa.Table) -> list[tuple[str, ...]]:
    """User, item and, if there is the column, event type of each row."""
    names = list(dataset.event_types.types)
    columns = [dataset.users.ids.ids(table["user_row"].to_numpy()), dataset.items.ids.ids(table["item_row"].to_numpy())]
    if "type" in table.column_names:
        columns.append(pa.array([names[code] for code in table["type"].to_pylist()]))
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def test_other_interactions_belong_to_the_split_of_the_positive_before_them() -> None:
    users = np.array([1, 1, 1, 1, 2, 2, 3])
    is_positive = np.array([False, True, False, True, True, False, False])
    found = split_of_others(users, is_positive, pa.array(["train", "test", "validation"]))
    assert found.to_pylist() == ["train", "train", "validation", "train"]  # user 3 has no positive at all
    assert split_of_others(np.array([1]), np.array([False]), pa.array([], pa.string())).to_pylist() == ["train"]


@pytest.mark.slow
def test_event_types_say_what_a_dataset_holds(ray_session: None, tmp_path: Path) -> None:
    events = ["shown", "view", "buy", "hide", "view", "owned", "buy", "hide"]
    log = written(tmp_path, user_id=["a"] * 8, item_id=list("stuvwxyz"), time=list(range(8)), event=events)
    dataset = prepared(tmp_path, [*log, *TYPES])
    counts = dataset.manifest["counts"]
    assert {name: counts[name] for name in ("raw_interactions", "others", "left_out", "train", "test")} == {
        "raw_interactions": 8, "others": 3, "left_out": 1, "train": 2, "test": 1,
    }  # fmt: skip
    positives = dataset.interactions("train", "validation", "test")
    assert pairs(dataset, positives) == [("a", "t", "view"), ("a", "u", "buy"), ("a", "w", "view"), ("a", "y", "buy")]
    assert positives["weight"].to_pylist() == [1.0, 5.0, 1.0, 5.0]
    assert pairs(dataset, dataset.others("train")) == [("a", "v", "hide")]  # after u, before w is held out
    assert pairs(dataset, dataset.others("validation")) == [("a", "x", "owned")]
    negatives = dataset.of_types(dataset.others("train", "validation", "test"), is_negative)
    assert pairs(dataset, negatives) == [("a", "v", "hide"), ("a", "z", "hide")]
    seen = dataset.seen("train", "validation")
    row = dataset.users.ids.row("a")
    assert sorted(dataset.items.ids.ids(seen.of_user(row)).to_pylist()) == ["u", "v", "x"]  # a view is not seen
    assert dataset.items.ids.values.to_pylist() == list("tuvwxyz")  # an impression leaves nothing


@pytest.mark.slow
def test_low_ratings_are_negatives_in_the_part_of_their_time(ray_session: None, tmp_path: Path) -> None:
    time = [1_600_000_000 + second for second in range(10)]
    ratings = [5.0, 1.0, 4.0, 4.0, 5.0, 2.0, 5.0, 4.0, 3.0, 5.0]
    log = written(tmp_path, user_id=["a", "b"] * 5, item_id=list("klmnopqrst"), time=time, stars=ratings)
    rated = ["data.source.columns.weight=stars", "data.positive_from=4", "data.split.kind=temporal"]
    dataset = prepared(tmp_path, [*log, *rated, "data.split.validation_share=0.2", "data.split.test_share=0.2"])
    counts = dataset.manifest["counts"]
    assert {name: counts[name] for name in ("others", "left_out", "train", "validation", "test")} == {
        "others": 3, "left_out": 0, "train": 4, "validation": 2, "test": 1,
    }  # fmt: skip
    assert pairs(dataset, dataset.others("train")) == [("b", "l", "below"), ("b", "p", "below")]
    assert set(dataset.interactions("train")["weight"].to_pylist()) == {1.0}


def test_a_log_of_positives_keeps_its_columns_and_its_name(dataset: PreparedDataset) -> None:
    assert not dataset.event_types
    assert "event_types" not in dataset.manifest
    assert not {"events", "positive_from", "below"} & set(dataset.manifest["config"])
    assert dataset.others("train").num_rows == 0
    row = int(dataset.interactions("train")["user_row"][0].as_py())
    assert dataset.seen("train").of_user(row).tolist() == dataset.sequences("train").of_user(row).tolist()


@pytest.mark.slow
def test_an_unknown_type_is_named(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=list("xyz"), time=[1, 2, 3], event=["buy", "like", None])
    with pytest.raises(DataError, match=r"type is missing or none of buy, view, .*in 2 of 3 rows, .*type 'like'"):
        prepared(tmp_path, [*log, *TYPES])


@pytest.mark.slow
def test_weights_that_enter_the_loss_are_not_negative(ray_session: None, tmp_path: Path) -> None:
    log = written(tmp_path, user_id=["a"] * 3, item_id=list("xyz"), time=[1, 2, 3], score=[5.0, -5.0, 5.0])
    with pytest.raises(DataError, match=r"weight is negative \(data\.positive_from is for ratings.* in 1 of 3 rows"):
        prepared(tmp_path, [*log, "data.source.columns.weight=score"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.positive_from=4", "data.events.buy.weight=2"], r"data\.positive_from: 4\.0 is for logs without event"),
        (["data.events.hide.sign=negative"], r"data\.events: none of hide is positive"),
        (["data.source.columns.type=event"], r"data\.source\.columns\.type: 'event' needs data\.events"),
        (["data.source.columns.split=part"], r"columns\.split: 'part' is for data\.split\.kind=given .* is temporal"),
        (
            ["data.events.buy.weight=2"],
            r"data\.events: buy are values of a column, and .*columns\.type is null",
        ),
        (
            ["data.positive_from=4"],
            r"data\.positive_from: 4\.0 is a bound of weights, .*columns\.weight is null",
        ),
        (
            ["data.min_weight=4"],
            r"data\.min_weight: 4\.0 is a bound of weights, .*columns\.weight is null",
        ),
        (["data.events.buy.weight=0"], r"data\.events\.buy\.weight: 0\.0 must be above 0"),
        (["data.positive_from=nan"], r"data\.positive_from: nan must be a finite number"),
    ],
)
def test_values_that_do_not_go_together(overrides: list[str], message: str) -> None:
    mapping = ["data=parquet", "data.source.interactions=nowhere", *overrides]
    with pytest.raises(ConfigError, match=message):
        load(mapping)
