"""A file of items' vectors is read and checked like a table of items, and joins a log by item."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts.errors import ConfigError, UserError
from data.sources.schema import DataError
from data.sources.source import RawLog
from data.sources.values.item_vectors import read_vectors, with_vectors
from data.sources.values.missing import SPELLINGS

IDS = ["a", "b", "c"]
NAN = float("nan")
SOUND = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def log(items: pa.Table | None) -> RawLog:
    return RawLog(None, None, items)  # type: ignore[arg-type]


def written(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_vectors_join_a_log_by_item(tmp_path: Path) -> None:
    table = {"item_id": ["b", "a"], "text": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))}
    file = read_vectors(written(tmp_path / "v.parquet", **table))
    items = pa.table({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"]})
    found = with_vectors(log(items), file, pa.array(["a"]))
    assert found.items is not None
    assert found.items["text"].to_pylist() == [[3.0, 4.0], [1.0, 2.0], None]
    assert [(feature.name, feature.kind.name) for feature in found.item_features] == [("text", "vector")]
    alone = with_vectors(log(None), file, pa.array(["a"])).items
    assert alone is not None and alone["item_id"].to_pylist() == ["b", "a"]


def test_an_item_of_the_log_alone_keeps_its_vector(tmp_path: Path) -> None:
    file = read_vectors(written(tmp_path / "v.parquet", item_id=IDS, text=SOUND))
    items = pa.table({"item_id": ["a"], "title": ["A"], "year": [1999.0]})
    found = with_vectors(log(items), file, pa.array(["a", "b"])).items
    assert found is not None
    assert found.to_pylist() == [
        {"item_id": "a", "title": "A", "year": 1999.0, "text": [1.0, 2.0]},
        {"item_id": "b", "title": None, "year": None, "text": [3.0, 4.0]},
    ]


def test_ids_and_missing_values_are_read_as_the_logs_are(tmp_path: Path) -> None:
    ids = pa.array([1001.0, 7.0, 8.0])
    floats = read_vectors(written(tmp_path / "f.parquet", item_id=ids, text=SOUND), (), SPELLINGS)
    assert floats.table["item_id"].to_pylist() == ["1001", "7", "8"]
    text = ["1|2", "NULL", ""]
    file = written(tmp_path / "t.parquet", item_id=[" a", "b ", "NA"], text=text)
    found = read_vectors(file, (), SPELLINGS)
    assert found.table["item_id"].to_pylist() == ["a", "b", "NA"]
    assert found.table["text"].to_pylist() == [[1.0, 2.0], None, None]
    assert found.missing_text == {"items.text": 1}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item_id": ["a", "b", "a"]}, r"1 values of item_id stand in more than one row, such as 'a' in 2"),
        ({"item_id": ["a", "NULL", None]}, r"item_id is missing in 2 of 3 rows, first in row 2"),
        ({"item_id": [0.5, 1.0, 2.0]}, r"column 'item_id': 0\.5 in row 1 is not an exact whole number"),
        (
            {"text": [[1.0, 2.0], [3.0, NAN], [5.0, 6.0]]},
            r"column 'text': \[3\.0, nan\] in row 2 \(item_id 'b'\) is not a list of finite numbers",
        ),
        (
            {"text": [[1.0], None, [1e39]]},
            r"column 'text': \[1e\+39\] in row 3 \(item_id 'c'\) is not a list of finite",
        ),
        ({"text": [[NAN, 1.0]] * 3}, r"column 'text': none of 3 values is a list of finite numbers, such as \[nan, 1"),
        (
            {"text": [[1.0, 2.0], [3.0], [5.0, 6.0]]},
            r"feature 'text': the vector of item_id 'b' has 1 values, and most have 2; 1 differ",
        ),
        ({"text": pa.nulls(3)}, r"column 'text': none of 3 values is a list of finite numbers; every column besides"),
        (
            {"model": ["m", "m", "m"]},
            r"column 'model': none of 3 values .* such as 'm'; every column besides item_id .*leave it out of the file",
        ),
        ({"num": [1, 2, 3]}, r"column 'num': expected lists of numbers, .*not int64; .*leave it out of the file"),
        ({"my vec": SOUND}, r"feature name 'my vec': must be an identifier .*: rename the column"),
        ({"title": SOUND}, r"feature name 'title': must be an identifier .*: rename the column"),
        ({"year": SOUND}, r"the log has the feature year itself"),
    ],
)
def test_faults_are_named_with_file_column_and_item(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    file = written(tmp_path / "v.parquet", **({"item_id": IDS, "text": SOUND} | columns))
    with pytest.raises(DataError, match=rf"^data\.item_vectors: {file}[:,] {message}") as caught:
        read_vectors(file, ["year"], SPELLINGS)
    assert "\n" not in str(caught.value)


def test_a_file_without_vectors_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs item_id and a column of vectors"):
        read_vectors(written(tmp_path / "w.parquet", item_id=["a"]))
    (tmp_path / "text.parquet").write_text("item_id,text\n")
    for place in (tmp_path / "none.parquet", tmp_path / "text.parquet", tmp_path):
        with pytest.raises(ConfigError, match=r"data\.item_vectors: .*no Parquet file to read"):
            read_vectors(str(place))


def test_a_long_vector_is_not_shown_whole(tmp_path: Path) -> None:
    vectors = [[1.0] * 768, [NAN] * 768]
    with pytest.raises(UserError) as caught:
        read_vectors(written(tmp_path / "v.parquet", item_id=["a", "b"], text=vectors))
    assert "item_id 'b'" in str(caught.value) and len(str(caught.value)) < 600
