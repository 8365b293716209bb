"""Parquet and CSV give the same log, whole or in parts, and faults are named by file, column and value."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from data.sources.schema import DataError, Feature, FeatureKind
from data.sources.source import RawLog, SourceConfig
from data.sources.survey import survey
from data.sources.tables import Columns, TableFormat, TableSource
from data.sources.values.times import TimeUnit

needs_ray = pytest.mark.usefixtures("ray_session")
Rows = Callable[[RawLog], list[dict[str, Any]]]
GENRES = Feature(name="genres", kind=FeatureKind.multi_categorical)
YEAR = Feature(name="year", kind=FeatureKind.numeric)
STUDIO = Feature(name="studio", kind=FeatureKind.categorical)
LOG = pa.table({"user": [1, 1, 2], "item": ["a", "b", "a"], "when": [10, 20, 30], "stars": [5, 3, 4]})
ITEMS = pa.table(
    {"item": ["a", "b"], "name": ["A", None], "genres": ["x|y", ""], "year": [1999, None], "studio": [7, None]}
)
COLUMNS = Columns(user_id="user", item_id="item", time="when", weight="stars", title="name")


def fault_of(source: SourceConfig) -> str:
    """The message with which reading or surveying refuses the log."""
    with pytest.raises(DataError) as caught:
        survey(source.read())
    return str(caught.value)


def table_source(folder: Path, kind: TableFormat, log: pa.Table = LOG, items: pa.Table = ITEMS) -> TableSource:
    write = pq.write_table if kind is TableFormat.parquet else csv.write_csv
    paths = {name: str(folder / f"{name}.{kind.value}") for name in ("log", "items")}
    write(log, paths["log"])
    write(items, paths["items"])
    return TableSource(
        format=kind,
        interactions=paths["log"],
        items=paths["items"],
        columns=COLUMNS,
        item_features=[GENRES, YEAR, STUDIO],
    )


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
def test_parquet_and_csv_give_the_same_log(tmp_path: Path, rows: Rows, kind: TableFormat) -> None:
    log = table_source(tmp_path, kind).read()
    row = {"user_id": "1", "item_id": "b", "time": 20, "weight": 3.0, "position": 1, "split": None, "context": None}
    assert rows(log)[1] == row | {"type": None, "fault": None, "missing": None}
    assert log.items is not None
    assert log.items.to_pylist() == [
        {"item_id": "a", "title": "A", "genres": ["x", "y"], "year": 1999.0, "studio": "7"},
        {"item_id": "b", "title": None, "genres": [], "year": None, "studio": None},
    ]
    assert survey(log).num_interactions == 3


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
def test_what_interactions_came_with(tmp_path: Path, rows: Rows, kind: TableFormat) -> None:
    log = LOG.append_column("channel", pa.array(["app", "web", None]))
    source = table_source(tmp_path, kind, log)
    read = replace(source, columns=replace(COLUMNS, context=["channel", "stars"])).read()
    assert read.context == ("channel", "stars")
    assert [row["context"] for row in rows(read)] == [["app", "5"], ["web", "3"], [None, "4"]]
    with pytest.raises(DataError, match="no column 'mood'"):
        replace(source, columns=replace(COLUMNS, context=["mood"])).read()


@needs_ray
def test_parquet_lists_timestamps_and_splits(tmp_path: Path, rows: Rows) -> None:
    log = LOG.set_column(2, "when", pa.array([datetime(2026, 1, 1)] * 3, pa.timestamp("ms")))
    log = log.append_column("part", pa.array(["train", "validation", "test"]))
    items = ITEMS.set_column(2, "genres", pa.array([["x"], None]))
    source = table_source(tmp_path, TableFormat.parquet, log, items)
    read = replace(source, columns=replace(COLUMNS, split="part")).read()
    assert [r["split"] for r in rows(read)] == ["train", "validation", "test"]
    assert {r["time"] for r in rows(read)} == {1767225600}
    assert read.items is not None and read.items["genres"].to_pylist() == [["x"], []]


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
def test_a_folder_is_read_in_the_order_of_its_files(tmp_path: Path, rows: Rows, kind: TableFormat) -> None:
    write = pq.write_table if kind is TableFormat.parquet else csv.write_csv
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "_SUCCESS").touch()
    for number in range(3):
        write(LOG.slice(number, 1), str(tmp_path / "log" / f"part-{number}.{kind.value}"))
    columns = Columns(user_id="user", item_id="item", time="when")
    source = TableSource(format=kind, interactions=str(tmp_path / "log"), columns=columns)
    found = rows(source.read())
    assert [r["time"] for r in found] == [10, 20, 30]
    assert len({r["position"] for r in found}) == 3
    assert [Path(file).name for file in source.files()] == [f"part-{n}.{kind.value}" for n in range(3)]


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("stars", ["5", "many", "few"], r"log.*, column 'stars': 'many' in row 2 is not a number \(nor are 1 others\)"),
        ("when", ["2026-01-01", "later", ""], r"log.*, column 'when': 'later' in row 2 is not a time"),
        ("when", ["1", None, "3"], r"log.*: time is missing or cannot be read as a time in 1 of 3 rows"),
        ("when", [1, -2, 3], r"log.*: time is negative .*time -2"),
        (
            "user",
            ["1", None, "3"],
            r"log.*: user_id is missing in 1 of 3 rows, first at /.*log.*, row 2( \(line 3\))? \(",
        ),
    ],
)
def test_table_faults_in_values(tmp_path: Path, kind: TableFormat, column: str, values: list, message: str) -> None:
    log = LOG.set_column(LOG.column_names.index(column), column, pa.array(values))
    with pytest.raises(DataError, match=message):
        survey(table_source(tmp_path, kind, log).read())


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
def test_table_faults_in_shape(tmp_path: Path, kind: TableFormat) -> None:
    source = table_source(tmp_path, kind, LOG.drop_columns("stars"))
    assert "no column 'stars'; there are 'user', 'item', 'when'" in fault_of(source)
    assert "no interactions" in fault_of(table_source(tmp_path, kind, LOG.slice(0, 0)))
    assert "no column 'year'" in fault_of(table_source(tmp_path, kind, items=ITEMS.drop_columns("year")))
    twice = fault_of(table_source(tmp_path, kind, items=pa.concat_tables([ITEMS, ITEMS])))
    assert "2 values of item_id stand in more than one row" in twice
    no_year = ITEMS.set_column(3, "year", pa.array(["1999", "old"]))
    assert "column 'year': 'old' in row 2 (item_id 'b') is not a number" in fault_of(
        table_source(tmp_path, kind, items=no_year)
    )
    (tmp_path / "bad").write_bytes(b"user_id,item_id,time\n1,2,\xe9\n" if kind is TableFormat.csv else b"junk")
    expected = "bad: byte 0xe9 in line 2 is not utf-8" if kind is TableFormat.csv else "bad: not a Parquet file"
    assert expected in fault_of(TableSource(format=kind, interactions=str(tmp_path / "bad")))
    (tmp_path / "bad").write_bytes(b"")
    assert "bad: there are no interactions" in fault_of(TableSource(format=kind, interactions=str(tmp_path / "bad")))


@needs_ray
def test_parquet_column_of_a_type_that_is_no_id(tmp_path: Path) -> None:
    log = LOG.set_column(0, "user", pa.array([1.0, 2.5, 3.0]))
    assert "column 'user': 2.5 in row 2 is not an exact whole number, and ids must be" in fault_of(
        table_source(tmp_path, TableFormat.parquet, log)
    )
    gap = LOG.set_column(0, "user", pa.array([1.0, 2.0, None]))
    assert "user_id is missing in 1 of 3 rows" in fault_of(table_source(tmp_path, TableFormat.parquet, gap))


@needs_ray
def test_integral_floats_and_integers_are_the_same_ids(tmp_path: Path, rows: Rows) -> None:
    whole = pa.array([10_000_000_000.0, 10_000_000_000.0, 2.0])
    read = table_source(tmp_path, TableFormat.parquet, LOG.set_column(0, "user", whole)).read()
    assert [row["user_id"] for row in rows(read)] == ["10000000000", "10000000000", "2"]


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
def test_missing_values_spelled_as_text(tmp_path: Path, rows: Rows, kind: TableFormat) -> None:
    log = LOG.append_column("channel", pa.array([" app ", "NULL", "\\N"]))
    items = ITEMS.set_column(1, "name", pa.array(["nan", " B "]))
    items = items.set_column(2, "genres", pa.array(["x||nan| y ", "None"]))
    items = items.set_column(4, "studio", pa.array([" ", "NA"]))
    source = table_source(tmp_path, kind, log, items)
    read = replace(source, columns=replace(COLUMNS, context=["channel"])).read()
    assert [row["context"] for row in rows(read)] == [["app"], [None], [None]]
    assert read.items is not None
    assert read.items.select(["title", "genres", "studio"]).to_pylist() == [
        {"title": None, "genres": ["x", "y"], "studio": None},
        {"title": "B", "genres": [], "studio": "NA"},
    ]
    assert read.missing_text == {"items.title": 1, "items.genres": 2, "items.studio": 1}
    assert survey(read).missing_context == {"channel": 2}
    kept = replace(source, missing=["NA"]).read().items
    assert kept is not None
    assert kept["title"].to_pylist() == ["nan", "B"] and kept["studio"].to_pylist() == [None, None]


@needs_ray
@pytest.mark.parametrize("spelling", ["nan", "None", "NULL", "\\N", " ", "\t"])
@pytest.mark.parametrize("column", ["user", "item"])
def test_ids_spelled_as_missing_are_refused_with_their_count(tmp_path: Path, spelling: str, column: str) -> None:
    log = LOG.set_column(LOG.column_names.index(column), column, pa.array(["a", spelling, spelling]))
    fault = fault_of(table_source(tmp_path, TableFormat.csv, log))
    assert f"{column}_id is missing in 2 of 3 rows" in fault
    assert "data.source.missing" in fault


@needs_ray
@pytest.mark.parametrize("column", ["when", "stars"])
def test_times_and_weights_spelled_as_missing_are_refused_with_their_count(tmp_path: Path, column: str) -> None:
    log = LOG.set_column(LOG.column_names.index(column), column, pa.array(["10", "NULL", "nan"]))
    assert "in 2 of 3 rows" in fault_of(table_source(tmp_path, TableFormat.csv, log))


@needs_ray
def test_days_since_1970(tmp_path: Path, rows: Rows) -> None:
    log = LOG.set_column(2, "when", pa.array([18_170, 18_171, 18_172]))
    read = replace(table_source(tmp_path, TableFormat.parquet, log), time_unit=TimeUnit.days).read()
    assert rows(read)[0]["time"] == 1_569_888_000


def test_a_log_without_a_column_of_times_is_told_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"^data\.source\.columns\.time: null; .*running number.*data\.clock=order"):
        Columns(time=None)


@needs_ray
def test_each_parquet_file_of_a_folder_has_its_types_checked(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    pq.write_table(LOG, str(tmp_path / "log" / "0.parquet"), row_group_size=1)
    pq.write_table(LOG.set_column(0, "user", pa.array([1.0, 2.5, None])), str(tmp_path / "log" / "1.parquet"))
    source = TableSource(format=TableFormat.parquet, interactions=str(tmp_path / "log"), columns=COLUMNS)
    assert "log/1.parquet, column 'user': 2.5 in row 2 is not an exact whole number" in fault_of(source)


def test_table_source_refuses_features_without_a_table() -> None:
    with pytest.raises(ValueError, match=r"data\.source\.item_features: \['year'\] need a table"):
        TableSource(format=TableFormat.csv, interactions="x.csv", item_features=[YEAR])


def test_vectors_have_one_length_in_all_files(tmp_path: Path) -> None:
    for number, vectors in enumerate([[[1.0, 2.0], None], [[1.0], [2.0]]]):
        ids = [f"{number}a", f"{number}b"]
        (tmp_path / "items").mkdir(exist_ok=True)
        pq.write_table(pa.table({"item_id": ids, "shape": vectors}), tmp_path / "items" / f"{number}.parquet")
    source = TableSource(
        format=TableFormat.parquet,
        interactions="log",
        items=str(tmp_path / "items"),
        item_features=[Feature(name="shape", kind=FeatureKind.vector)],
    )
    with pytest.raises(
        DataError, match="items, feature 'shape': the vector of item_id '0a' has 2 values, and most have 1"
    ):
        source.item_rows()
