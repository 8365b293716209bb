"""Numbers of features: infinite ones are refused, and those that stand for a missing value are missing."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from data.dataset.clock import ClockKind
from data.dataset.inspection import inspect
from data.dataset.split import SplitConfig
from data.sources.schema import DataError, Feature, FeatureKind
from data.sources.source import RawLog, in_blocks, raw_block
from data.sources.survey import survey
from data.sources.tables import TableFormat, TableSource

needs_ray = pytest.mark.usefixtures("ray_session")
PRICE = Feature(name="price", kind=FeatureKind.numeric)
BRAND = Feature(name="brand", kind=FeatureKind.categorical)
INFINITE, NAN = float("inf"), float("nan")


def items(folder: Path, prices: list | pa.Array, kind: TableFormat = TableFormat.csv, **values: Any) -> pa.Table:
    """The items i0, i1, ... of a file with these prices."""
    table = pa.table({"item_id": [f"i{n}" for n in range(len(prices))], "price": prices})
    place = str(folder / f"items.{kind.value}")
    (pq.write_table if kind is TableFormat.parquet else csv.write_csv)(table, place)
    values = {"item_features": [PRICE], **values}
    return TableSource(format=kind, interactions=place, items=place, **values).item_rows()


@pytest.mark.parametrize("kind", TableFormat)
@pytest.mark.parametrize(
    ("prices", "value"),
    [
        ([1.0, INFINITE, None, -INFINITE], "inf"),
        (pa.array([1.0, -INFINITE, None, INFINITE], pa.float32()), "-inf"),
        (["1", "inf", "", "1e400"], "inf"),
        (["1", " -Infinity", "nan", "INF"], "-Infinity"),
        (["1", "1e400", "3 ", "-1e999"], "1e400"),
    ],
)
def test_infinite_numbers_are_refused(tmp_path: Path, kind: TableFormat, prices: Any, value: str) -> None:
    with pytest.raises(
        DataError,
        match=rf"items\.{kind.value}, feature 'price': +{value} of item 'i1' is not a finite number "
        r"\(nor are 1 others\): correct it, or leave it empty",
    ):
        items(tmp_path, prices, kind)


def test_what_is_no_number_is_named_apart_from_infinite_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'12,50' in row 3 \(item_id 'i2'\) is not a number: correct or empty it"):
        items(tmp_path, ["1", "inf", "12,50"])


@pytest.mark.parametrize("kind", TableFormat)
def test_numbers_that_are_not_known_are_missing(tmp_path: Path, kind: TableFormat) -> None:
    assert items(tmp_path, [1.0, NAN, None], kind)["price"].to_pylist() == [1.0, None, None]
    assert items(tmp_path, [1.0, INFINITE], kind, missing=["inf"])["price"].to_pylist() == [1.0, None]


@needs_ray
def test_infinite_numbers_of_any_source_are_refused() -> None:
    ids = pa.array(["a", "b"])
    block = raw_block(user_id=ids, item_id=ids, time=pa.array([1, 2]), first_position=0)
    table = pa.table({"item_id": ids, "title": ids, "price": [1.0, INFINITE]})
    log = RawLog(in_blocks(block), None, table, item_features=(PRICE,), place="my log")
    with pytest.raises(DataError, match="my log, items, feature 'price': inf of item 'b' is not a finite number"):
        inspect(log, survey(log), ClockKind.auto, SplitConfig())


@pytest.mark.parametrize("kind", TableFormat)
@pytest.mark.parametrize("feature", [PRICE, Feature(name="price", kind=FeatureKind.categorical)])
def test_a_number_may_stand_for_a_missing_value(tmp_path: Path, kind: TableFormat, feature: Feature) -> None:
    for prices in ([1, -1, 10], pa.array([1.0, -1.0, 10.0])):
        if kind is TableFormat.parquet or isinstance(prices, list):  # a CSV file says "-1" or "-1.0"
            found = items(tmp_path, prices, kind, missing=["-1", "NULL"], item_features=[feature])["price"].to_pylist()
            assert found[1] is None and None not in (found[0], found[2])


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
def test_ids_that_are_numbers_may_stand_for_a_missing_one(tmp_path: Path, kind: TableFormat) -> None:
    log = pa.table({"user_id": [1, -1, -1], "item_id": [1, 2, 3], "time": [1, 2, 3]})
    place = str(tmp_path / f"log.{kind.value}")
    (pq.write_table if kind is TableFormat.parquet else csv.write_csv)(log, place)
    with pytest.raises(DataError, match="user_id is missing in 2 of 3 rows"):
        survey(TableSource(format=kind, interactions=place, missing=["-1"]).read())
    assert survey(TableSource(format=kind, interactions=place).read()).user_ids.to_pylist() == ["-1", "1"]


@needs_ray
def test_rows_of_several_lines_are_said(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,time\nu,i,1\nv,j,2\n")
    (tmp_path / "items.csv").write_text('item_id,text,brand\ni,"a\nb",x\nj,"a\n\nb\nc",y\nk,a,z\n')
    source = TableSource(
        format=TableFormat.csv,
        interactions=f"{tmp_path}/log.csv",
        items=f"{tmp_path}/items.csv",
        item_features=[Feature(name="text", kind=FeatureKind.text), BRAND],
    )
    log = source.read()
    assert log.items is not None and log.items["text"].to_pylist() == ["a\nb", "a\n\nb\nc", "a"]
    (note,) = log.notes
    assert f"items: 2 rows span several lines, the longest 4 ({tmp_path}/items.csv, line 4)" in note
    assert note in inspect(log, survey(log), ClockKind.auto, SplitConfig()).notes
