"""Columns of any type become canonical ones; what cannot be read becomes null."""

from datetime import datetime, time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from data.sources import casts
from data.sources.schema import DataError


def column(*values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def test_lists_have_neither_nulls_nor_blanks_and_their_values_are_trimmed() -> None:
    assert casts.value_sets(column("t1||t2", " t2| ", "", None), "|").to_pylist() == [["t1", "t2"], ["t2"], [], []]
    lists = column(["a", None], None, [None], ["b"], [])
    assert casts.value_sets(lists, "|").to_pylist() == [["a"], [], [], ["b"], []]
    assert casts.value_sets(lists.slice(3), "|").to_pylist() == [["b"], []]
    fixed = column([1.0, float("nan")], kind=pa.list_(pa.float64(), 2))
    assert casts.value_sets(fixed, "|").to_pylist() == [["1"]]
    assert casts.value_sets(column([10.0**10, 0.5]), "|").to_pylist() == [["10000000000", "0.5"]]
    with pytest.raises(DataError, match="one value per row, not list"):
        casts.value_sets(column([["a"]]), "|")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("['Action', 'Comedy']", ["Action", "Comedy"]),
        ('["a","b|c"]', ["a", "b|c"]),
        (""" ['R, B', "It's"] """, ["R, B", "It's"]),
        (r"""['It\'s "x"', 'a\\b', 'c\xa0d']""", ['It\'s "x"', "a\\b", "c\u00a0d"]),
        (r'["Com\u00e9die", "\ud83d\ude00", "a\/b", "say \"x\""]', ["Comédie", "😀", "a/b", 'say "x"']),
        ("['a' 'b']", ["a", "b"]),
        ("[1, -2.5, null]", ["1", "-2.5", "null"]),
        ("[]", []),
        ("['']", []),
        ("[Live]|[Demo]", ["[Live]", "[Demo]"]),
        ("['a', b]", ["['a', b]"]),
        (r"a\nb|c", [r"a\nb", "c"]),
    ],
)
def test_lists_that_are_text_are_read_as_lists(text: str, values: list[str]) -> None:
    """As pandas and JSON write them into CSV files: each whole list was one value, which no filter could name."""
    assert casts.value_sets(column(text), "|").to_pylist() == [values]
    assert casts.value_sets(column("x|y", text, None, ""), "|").to_pylist() == [["x", "y"], values, [], []]


def test_labels_of_numbers_are_the_same_in_any_type() -> None:
    whole = [7, 10_000_000_000]
    assert casts.labels(column(*whole)).to_pylist() == casts.labels(column(*map(float, whole))).to_pylist()
    assert casts.labels(column(0.5, None)).to_pylist() == ["0.5", None]


def test_labels_of_equal_values_are_equal() -> None:
    def texts(kind: pa.DataType, *values: object) -> list[str | None]:
        found: list[str | None] = casts.labels(pa.chunked_array([pa.array(values, kind)])).to_pylist()
        return found

    numbers = [Decimal(1001), Decimal("0.5"), Decimal(-20), Decimal(0), Decimal("0.00000015"), None]
    for kind in (pa.decimal128(20, 8), pa.decimal128(38, 18), pa.decimal256(60, 30)):
        assert texts(kind, *numbers) == ["1001", "0.5", "-20", "0", "1.5e-7", None]
    assert texts(pa.float64(), 1001, 0.5, -20, 0, 1.5e-7, None) == ["1001", "0.5", "-20", "0", "1.5e-7", None]
    assert texts(pa.decimal128(10, -2), Decimal(1200)) == texts(pa.int16(), 1200) == ["1200"]
    moments = datetime(2026, 1, 1, 3, 4, 50), datetime(2026, 1, 1)
    for zone, ending in ((None, ""), ("UTC", "Z")):
        for unit in ("s", "ms", "us", "ns"):
            found = texts(pa.timestamp(unit, zone), *moments)
            assert found == [f"2026-01-01 03:04:50{ending}", f"2026-01-01 00:00:00{ending}"]
    assert texts(pa.timestamp("us"), datetime(2026, 1, 1, microsecond=120_000)) == ["2026-01-01 00:00:00.12"]
    assert texts(pa.time64("ns"), time(3, 4, 10)) == texts(pa.time32("s"), time(3, 4, 10)) == ["03:04:10"]


def test_times_in_a_zone_that_nobody_knows_have_no_text() -> None:
    with pytest.raises(DataError, match=r"^timestamp\[us, tz=Mars/North\] cannot be written as text [^\n]* UTC$"):
        casts.labels(column(1, kind=pa.timestamp("us", "Mars/North")))


def test_times_in_floats_that_are_too_short_are_refused_with_a_cure() -> None:
    for kind, known in ((pa.float32(), 2**24 - 1), (pa.float16(), 2**11 - 1)):
        for late in (known + 1, -known - 1):
            block = pa.table({"at": pa.array(np.array([known, late]), pa.float64()).cast(kind)})
            with pytest.raises(DataError, match=f"row 2 is not an exact time, because float{kind.bit_width} .*int64"):
                casts.check_head([block], {"time": "at"}, "f.parquet")
            casts.check_head([block[:1]], {"time": "at"}, "f.parquet")


@pytest.mark.parametrize("wrong", [b"bytes", {"a": 1}, ["a"]])
def test_labels_of_a_type_without_text_are_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(DataError, match=r"^expected .* not [^\n]*$"):
        casts.labels(column(wrong))


def test_what_cannot_be_read_is_named_with_a_cure_that_works() -> None:
    with pytest.raises(DataError, match=r"f\.csv, column 'at': 'soon' in row 2 is not a time: .*2019-10-01") as caught:
        casts.check_head([pa.table({"at": ["1", "soon"]})], {"time": "at"}, "f.csv")
    assert "empty" not in str(caught.value)
    with pytest.raises(DataError, match="0x5d929c07"):
        casts.check_head([pa.table({"at": ["0x5d929c07"]})], {"time": "at"}, "f.csv")


def test_text_for_missing_values_is_no_fault_of_the_head() -> None:
    block = pa.table({"w": ["1", "NULL", " "]})
    casts.check_head([block], {"weight": "w"}, "f.csv", conventions=casts.Conventions(("NULL",)))
    with pytest.raises(DataError, match="'NULL' in row 2 is not a number"):
        casts.check_head([block], {"weight": "w"}, "f.csv")
