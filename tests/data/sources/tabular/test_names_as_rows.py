"""A header that stands again between the rows of a table, as in joined exports, is no row."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from data.sources.schema import DataError, Feature, FeatureKind
from data.sources.survey import survey
from data.sources.tables import Columns, TableFormat, TableSource
from serve.batch.users import read_users

needs_ray = pytest.mark.usefixtures("ray_session")
Written = Callable[..., Path]
BRAND = Feature(name="brand", kind=FeatureKind.categorical, column="made by")
HEADER = "sku,made by\n"


def items_at(path: Path, kind: TableFormat = TableFormat.csv, *features: Feature) -> pa.Table:
    columns = Columns(item_id="sku")
    source = TableSource(
        format=kind, interactions="log", items=str(path), columns=columns, item_features=list(features)
    )
    return source.item_rows()


def test_names_within_a_table_of_items_are_refused(written: Written) -> None:
    folder = written({"items.csv": f'{HEADER}i0,"a\nb"\ni1,b\n{HEADER}i2,b\n {HEADER}i3,b\n'})
    message = (
        r"items\.csv, row 3 \(line 4\): the row repeats the names of the columns \(sku, made by\) \(so do 1 others\)"
    )
    text = Feature(name="brand", kind=FeatureKind.text, column="made by")
    with pytest.raises(DataError, match=message.replace("line 4", "line 5")):
        items_at(folder / "items.csv", TableFormat.csv, text)
    written({"items.csv": f"{HEADER}i0,a\ni1,b\n{HEADER}i2,b\n {HEADER}i3,b\n"})
    with pytest.raises(DataError, match=message):
        items_at(folder / "items.csv", TableFormat.csv, BRAND)
    with pytest.raises(DataError, match=r"repeats the names of the columns \(sku\)"):
        items_at(folder / "items.csv")


@pytest.mark.parametrize("kind", TableFormat)
def test_names_in_a_later_part_are_refused(tmp_path: Path, kind: TableFormat) -> None:
    write = pq.write_table if kind is TableFormat.parquet else csv.write_csv
    sound = pa.table({"sku": ["i0"], "made by": ["sku"]})
    write(sound, str(tmp_path / f"0.{kind.value}"))
    write(pa.table({"sku": ["i1", "sku"], "made by": ["b", "made by"]}), str(tmp_path / f"1.{kind.value}"))
    with pytest.raises(DataError, match=rf"1\.{kind.value}, row 2( \(line 3\))?: the row repeats the names"):
        items_at(tmp_path, kind, BRAND)


def test_values_that_are_like_some_name_are_kept(written: Written) -> None:
    folder = written({"items.csv": "sku,made by,dear\nsku,b,0\nmade by,made by,1\ni2,sku,\n"})
    assert items_at(folder / "items.csv", TableFormat.csv, BRAND)["item_id"].to_pylist() == ["sku", "made by", "i2"]


@needs_ray
def test_names_within_users_and_interactions_are_refused(written: Written) -> None:
    log = "user_id,item_id,time\n"
    files = {"log.csv": f"{log}u1,i1,1\n{log}u2,i2,2\n", "users.csv": "user_id,age\nu1,3\nuser_id,age\nu2,3\n"}
    folder = written(files)
    source = TableSource(format=TableFormat.csv, interactions=str(folder / "log.csv"))
    with pytest.raises(DataError, match=r"log\.csv, column 'time': 'time' in row 2 is not a time"):
        survey(source.read())
    written({"log.csv": log + "u1,i1,1\n"})
    source.users = str(folder / "users.csv")
    with pytest.raises(DataError, match=r"users\.csv, row 2 \(line 3\): the row repeats the names"):
        source.read()
    with pytest.raises(
        DataError, match=r"^recommend\.users: .*users\.csv, row 2 \(line 3\): the row repeats the names"
    ):
        read_users(str(folder / "users.csv"), {})
