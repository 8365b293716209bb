"""Tables of many files: empty parts count for nothing, folders give columns, and each row has a place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts.errors import ConfigError
from data.sources.files import TableFormat, format_of, is_tab_separated
from data.sources.schema import DataError, Feature, FeatureKind
from data.sources.source import RawLog
from data.sources.survey import survey
from data.sources.tables import Columns, TableSource

needs_ray = pytest.mark.usefixtures("ray_session")
Rows = Callable[[RawLog], list[dict[str, Any]]]
HEADER, ROW = "user_id,item_id,time\n", "u{0},i{0},{0}\n"


def log_in(folder: Path, **values: Any) -> TableSource:
    return TableSource(**{"format": TableFormat.csv, "interactions": str(folder), **values})


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@needs_ray
def test_csv_parts_without_rows(tmp_path: Path, rows: Rows) -> None:
    empty = {"0.csv": "", "1.csv": HEADER, "2.csv": HEADER.strip(), "3.csv": "\n", "4.csv": "item_id\n"}
    folder = write(tmp_path, {**empty, "5.csv": HEADER + ROW.format(1)})
    assert [r["user_id"] for r in rows(log_in(folder).read())] == ["u1"]
    for name in empty:
        with pytest.raises(DataError, match="there are no interactions in it"):
            survey(log_in(folder / name).read())


@needs_ray
@pytest.mark.parametrize("line", ["u2,i2,2\n", "u2,i2,2", "other,names\n"])
def test_a_part_whose_only_line_names_no_column_is_named(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"0.csv": HEADER + ROW.format(1), "1.csv": line})
    with pytest.raises(DataError, match=r"1\.csv: its only line \(.* names none of the columns .*'user_id', 'item_id'"):
        log_in(tmp_path).read()


@needs_ray
def test_parquet_parts_without_rows_and_of_other_types(tmp_path: Path, rows: Rows) -> None:
    table = pa.table({"user_id": ["u1"], "item_id": ["i1"], "time": [1], "weight": [2.0], "channel": ["app"]})
    dictionary = table.set_column(1, "item_id", table["item_id"].dictionary_encode())
    large = table.set_column(1, "item_id", table["item_id"].cast(pa.large_string()))
    view = table.set_column(1, "item_id", table["item_id"].cast(pa.string_view()))
    nulls = table.set_column(4, "channel", pa.array([None], pa.float64()))
    for number, part in enumerate([table, table[:0].select(["user_id"]), dictionary, large, view, nulls]):
        pq.write_table(part, tmp_path / f"{number}.parquet")
    (tmp_path / "6.parquet").touch()
    source = log_in(tmp_path, format=TableFormat.parquet, columns=Columns(weight="weight", context=["channel"]))
    found = rows(source.read())
    assert [r["item_id"] for r in found] == ["i1"] * 5
    assert [r["context"] for r in found] == [["app"]] * 4 + [[None]]


@needs_ray
def test_a_part_whose_ids_are_all_null_is_named_with_its_row(tmp_path: Path) -> None:
    sound = pa.table({"user_id": ["u1"], "item_id": ["i1"], "time": [1]})
    pq.write_table(sound, tmp_path / "0.parquet")
    pq.write_table(sound.set_column(0, "user_id", pa.array([None], pa.float64())), tmp_path / "1.parquet")
    with pytest.raises(DataError, match=r"user_id is missing in 1 of 2 rows, first at /.*/1\.parquet, row 1 \("):
        survey(log_in(tmp_path, format=TableFormat.parquet).read())


@needs_ray
def test_a_wrong_value_in_a_later_part_is_named_with_file_row_and_line(tmp_path: Path) -> None:
    sound = HEADER + ROW.format(1)
    write(tmp_path, {"0.csv": sound, "1.csv": HEADER + "\n" + ROW.format(2) + "u3,i3,noon\n"})
    with pytest.raises(DataError, match=r"time is missing or cannot .* first at /.*/1\.csv, row 2 \(line 4\) \("):
        survey(log_in(tmp_path).read())


@needs_ray
@pytest.mark.parametrize("rows_before", [0, 100_000])
def test_lines_that_do_not_fit_are_counted_wherever_they_are(tmp_path: Path, rows_before: int) -> None:
    text = HEADER + ROW.format(1) * rows_before + "u1,i1,1,app\n" + ROW.format(1) + "u1,i1\n"
    message = rf"1\.csv: 2 rows do not have 3 columns, first the one in line {rows_before + 2}, which has 4"
    write(tmp_path, {"0.csv": HEADER + ROW.format(1), "1.csv": text})
    with pytest.raises(DataError, match=message):
        survey(log_in(tmp_path).read())


@needs_ray
def test_a_quote_that_is_not_closed_loses_no_row_silently(tmp_path: Path) -> None:
    lines = [f"u{n},i{n % 9},{n},app\n" for n in range(2000)]
    lines[1000] = 'u1000,i1,1000,"app\n'
    write(tmp_path, {"log.csv": "user_id,item_id,time,channel\n" + "".join(lines)})
    for context in ([], ["channel"]):
        with pytest.raises(DataError, match=r"log\.csv: a quote in the row that begins in line 1002 is never closed"):
            survey(log_in(tmp_path, columns=Columns(context=context)).read())


@needs_ray
@pytest.mark.parametrize("kind", TableFormat)
def test_folders_give_columns(tmp_path: Path, rows: Rows, kind: TableFormat) -> None:
    names = {"dt=2024-01-01/country=NA": "u1", "dt=2024-01-02/country=S%C3%A3o%20T": "u2"}
    names["dt=2024-01-03/country=__HIVE_DEFAULT_PARTITION__"] = "u3"
    for name, user in names.items():
        table = pa.table({"user_id": [user], "item_id": ["i"], "t": [1]})
        if kind is TableFormat.csv:
            write(tmp_path, {f"logs/{name}/part-0.csv": f"user_id,item_id,t\n{user},i,1\n"})
        else:
            (tmp_path / "logs" / name).mkdir(parents=True)
            pq.write_table(table, tmp_path / "logs" / name / "part-0.parquet")
    columns = Columns(time="dt", context=["country", "t"])
    found = rows(log_in(tmp_path / "logs", format=kind, columns=columns).read())
    assert [r["time"] for r in found] == [1704067200, 1704153600, 1704240000]
    assert [r["context"] for r in found] == [["NA", "1"], ["São T", "1"], [None, "1"]]
    one = log_in(tmp_path / "logs" / "dt=2024-01-02", format=kind, columns=Columns(time="dt"))
    assert [r["time"] for r in rows(one.read())] == [1704153600]
    with pytest.raises(DataError, match=r"no column 'day'; there are .*'t'; its folders give 'dt', 'country'"):
        log_in(tmp_path / "logs", format=kind, columns=Columns(time="day")).read()


@needs_ray
def test_a_column_of_the_file_goes_before_that_of_its_folder(tmp_path: Path, rows: Rows) -> None:
    write(tmp_path, {"time=7/0.csv": HEADER + "u1,i1,5\n"})
    assert [r["time"] for r in rows(log_in(tmp_path).read())] == [5]


def items_in(folder: Path, **values: Any) -> pa.Table:
    values = {"items": str(folder), "item_features": [Feature(name="year", kind=FeatureKind.numeric)], **values}
    return log_in(folder, **values).item_rows()


def test_items_of_several_files_and_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": [1], "year": [1999]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"item_id": pa.array(["b"]).dictionary_encode(), "year": ["2000"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"item_id": ["c"], "year": pa.nulls(1)}), tmp_path / "2.parquet")
    (tmp_path / "3.parquet").touch()
    found = items_in(tmp_path, format=TableFormat.parquet)
    assert found.to_pydict() == {"item_id": ["1", "b", "c"], "title": [None] * 3, "year": [1999.0, 2000.0, None]}
    pq.write_table(pa.table({"item_id": ["d"], "year": [[1]]}), tmp_path / "4.parquet")
    with pytest.raises(DataError, match=r"4\.parquet, column 'year': expected numbers, not list"):
        items_in(tmp_path, format=TableFormat.parquet)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("item_id,year\nb,1\nc,old\n", r"1\.csv, column 'year': 'old' in row 2 \(item_id 'c'\) is not a number"),
        ("item_id,year\nb,1\n,2\n", r"1\.csv: item_id is missing in 1 of 2 rows, first in row 2"),
        ("item_id,year\nb,1\na,2\n", r"1 values of item_id stand in more than one row, such as 'a' in 2"),
        ('item_id,year\nb,"1\n2"\n', r"1\.csv: column 'year' holds a line break in 1 of 1 rows, .* line 2"),
        ('item_id,year\nb,"1\nc,2\n', r"1\.csv: a quote in the row that begins in line 2 is never closed"),
    ],
)
def test_faults_of_items_are_named_with_their_file(tmp_path: Path, second: str, message: str) -> None:
    write(tmp_path, {"0.csv": "item_id,year\na,1\n", "1.csv": second})
    with pytest.raises(DataError, match=message):
        items_in(tmp_path)


def test_a_feature_may_have_another_name_than_its_column(tmp_path: Path) -> None:
    write(tmp_path, {"items.csv": "ISBN;Year-Of-Publication\n1;1999\n"})
    year = Feature(name="year", kind=FeatureKind.numeric, column="Year-Of-Publication")
    found = items_in(tmp_path, item_features=[year], columns=Columns(item_id="ISBN"), delimiter=";")
    assert found["year"].to_pylist() == [1999.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoding": "utf8x"}, r"data\.source\.encoding: 'utf8x' is no encoding of text .*unknown encoding"),
        ({"encoding": "hex"}, r"data\.source\.encoding: 'hex' is no encoding of text"),
        ({"encoding": "punycode"}, r"data\.source\.encoding: 'punycode' is no encoding of text"),
        ({"encoding": "idna"}, r"data\.source\.encoding: 'idna' is no encoding of text"),
        ({"encoding": ""}, r"data\.source\.encoding: '' is no encoding of text"),
        ({"quote": "''"}, r"data\.source\.quote: \"''\" must be one ASCII character"),
        ({"quote": ""}, r"data\.source\.quote: '' must be one ASCII character"),
        ({"escape": '"'}, r"data\.source: delimiter ',', quote '\"' and escape '\"' must differ"),
        ({"delimiter": "§"}, r"data\.source\.delimiter: '§' must be one ASCII character"),
    ],
)
def test_settings_of_text_files_are_checked(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        log_in(Path("x"), **values)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", TableFormat.csv), ("a.CSV", TableFormat.csv), ("a.csv.zst", TableFormat.csv),
        ("a.TSV.bz2", TableFormat.csv), ("a.csv.GZ", TableFormat.csv), ("a.parquet", TableFormat.parquet),
        ("csv", TableFormat.parquet), ("part-0", TableFormat.parquet),
    ],
)  # fmt: skip
def test_the_format_by_name(name: str, kind: TableFormat) -> None:
    assert format_of(name) is kind
    assert is_tab_separated(name) == name.lower().startswith("a.tsv")


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (b"user_id;item_id;time\nu;i;1\n", r"""set 'data\.source\.delimiter=";"'"""),
        (b"user_id\titem_id\ttime\nu\ti\t1\n", r"""set 'data\.source\.delimiter="\\t"'"""),
        ("user_id,item_id,time\nu,i,1\n".encode("utf-16-le"), "set data.source.encoding=utf-16-le"),
        ("user_id,item_id,time\nu,i,1\n".encode("utf-16-be"), "set data.source.encoding=utf-16-be"),
        (b"user_id\nu\n", "name them in data.source.columns"),
    ],
)
def test_a_file_of_another_layout_is_told_the_setting(tmp_path: Path, content: bytes, cure: str) -> None:
    with pytest.raises(DataError, match=rf"log\.csv: no column .*: .*{cure}"):
        log_in(write(tmp_path, {"log.csv": content}) / "log.csv").read()


def test_a_layout_may_be_typed_with_a_backslash(tmp_path: Path) -> None:
    found = log_in(tmp_path, delimiter="\\t", escape="\\\\", quote="\\'")
    assert (found.delimiter, found.escape, found.quote) == ("\t", "\\", "'")
    with pytest.raises(ConfigError, match=r"delimiter: 'tab' must be one ASCII character .* \\t \(a tab\)"):
        log_in(tmp_path, delimiter="tab")
