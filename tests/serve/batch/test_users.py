"""The users of batch inference are read as the log's ids are, and none is lost or made up."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.dataset.vocabulary import Vocabulary
from data.sources.schema import DataError
from serve.batch.users import read_users, report_unknown


def read(tmp_path: Path, values: Any, missing: tuple[str, ...] = ()) -> list[str]:
    pq.write_table(pa.table({"user_id": values}), tmp_path / "users.parquet")
    return read_users(str(tmp_path / "users.parquet"), {"missing": missing}).to_pylist()


def test_ids_are_those_of_the_log(tmp_path: Path) -> None:
    assert read(tmp_path, [1.0, 10_000_000_000.0, None, 1.0]) == ["1", "10000000000"]
    assert read(tmp_path, [" u1", "u1", "", "nan"], ("nan",)) == ["u1"]
    assert read(tmp_path, pa.array([1_700_000_000_000_000_001])) == ["1700000000000000001"]


def test_rows_without_a_user_are_counted(tmp_path: Path) -> None:
    said: list[str] = []
    pq.write_table(pa.table({"user_id": ["a", "nan", " ", "b", None, "nan", "a"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"user_id": [7.0, float("nan")]}), tmp_path / "2.parquet")
    assert read_users(str(tmp_path), {"missing": ["nan"]}, said.append).to_pylist() == ["a", "b", "7"]
    (line,) = said
    assert line.startswith("recommend: 5 of 9 rows are left out, whose user_id is blank or spelled as a missing value")
    said.clear()
    assert read_users(str(tmp_path / "1.parquet"), {}, said.append).to_pylist() == ["a", "nan", "b"]
    assert "2 of 7 rows" in said[0]
    pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "1.parquet")
    said.clear()
    read_users(str(tmp_path / "1.parquet"), {}, said.append)
    assert not said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [float(1_700_000_000_000_000_000 + n) for n in range(50)],
            r"1\.7e\+18 in row 1 is not an exact whole number, .* not double \(nor are 49 others\): cast the column",
        ),
        ([["a"]], "ids must be strings or integers, not list"),
        ([b"a"], "ids must be strings or integers, not binary"),
        ([" ", None], "names no user"),
    ],
)
def test_what_is_no_id_is_refused_in_one_line(tmp_path: Path, values: list, message: str) -> None:
    with pytest.raises(DataError, match=rf"^recommend\.users: [^\n]*{message}[^\n]*$"):
        read(tmp_path, values)


def test_each_part_has_types_of_its_own(tmp_path: Path) -> None:
    text = pa.array(["u1", "u2"])
    for number, values in enumerate([text.dictionary_encode(), text.cast(pa.large_string()), pa.nulls(2), [7, 8]]):
        pq.write_table(pa.table({"user_id": values}), tmp_path / f"{number}.parquet")
    (tmp_path / "9.parquet").touch()
    assert read_users(str(tmp_path), {}).to_pylist() == ["u1", "u2", "7", "8"]


@pytest.mark.parametrize(("name", "delimiter"), [("users.csv", ";"), ("users.tsv", "\t")])
def test_text_is_read_as_the_logs_is(tmp_path: Path, name: str, delimiter: str) -> None:
    (tmp_path / name).write_text(f"user_id{delimiter}age\nu1{delimiter}7\n\\N{delimiter}7\n'u;\t2'{delimiter}8\n")
    log = {"missing": ["\\N"], "delimiter": ";", "quote": "'", "escape": None, "encoding": "utf-8"}
    assert read_users(str(tmp_path / name), log).to_pylist() == ["u1", "u;\t2"]


def test_after_events_of_an_endpoint_the_log_from_before_says_how_text_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["u1", "NULL", "nan"]}), tmp_path / "users.parquet")
    (tmp_path / "users.csv").write_text("user_id;age\nu1;7\nNULL;7\n'u;2';8\n")
    base = {"missing": ["NULL", "nan"], "delimiter": ";", "quote": "'", "escape": None, "encoding": "utf-8"}
    events = {"root": "s", "missing": ["undefined"], "base": base}
    assert read_users(str(tmp_path / "users.parquet"), events).to_pylist() == ["u1"]
    assert read_users(str(tmp_path / "users.csv"), events).to_pylist() == ["u1", "u;2"]


def test_a_missing_file_or_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"customer": ["a"]}), tmp_path / "users.parquet")
    with pytest.raises(DataError, match="no column 'user_id'; there are 'customer': rename it for recommend.users"):
        read_users(str(tmp_path / "users.parquet"), {})
    with pytest.raises(DataError, match="^recommend.users: "):
        read_users(str(tmp_path / "nowhere"), {})


def test_the_number_of_unknown_users_is_said() -> None:
    said: list[str] = []
    known = Vocabulary(pa.array(["a", "b"]))
    report_unknown(known, pa.array(["a", "x", "y"]), "r1", said.append)
    report_unknown(known, pa.array(["a"]), "r1", said.append)
    assert said == ["recommend: 2 of 3 users are unknown to release r1, such as 'x': they get popular items"]
