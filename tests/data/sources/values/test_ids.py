"""Equal ids meet, whatever the type of their column; what is not exact is no id."""

from decimal import Decimal

import pyarrow as pa
import pytest

from data.sources.casts import checked
from data.sources.schema import DataError
from data.sources.values.ids import ids, undecorated


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["007", "7", " u1\t", None], pa.string(), ["007", "7", "u1", None]),
        (["a"], pa.large_string(), ["a"]),
        (["a"], pa.string_view(), ["a"]),
        (["a", "a"], pa.dictionary(pa.int8(), pa.string()), ["a", "a"]),
        ([None], pa.null(), [None]),
        ([7, 2**63], pa.uint64(), ["7", str(2**63)]),
        ([1001.0, 10.0**10, 2.0**53 - 1, -0.0], pa.float64(), ["1001", "10000000000", str(2**53 - 1), "0"]),
        ([1.5, 1.7e18, 2.0**53, float("nan"), float("inf")], pa.float64(), [None] * 5),
        ([5.0, 2.0**24], pa.float32(), ["5", None]),  # 2^24 + 1 is stored as 2^24
        ([Decimal("12345678901234567890.00"), Decimal("1.50")], pa.decimal128(25, 2), ["12345678901234567890", None]),
    ],
)
def test_ids(values: list, kind: pa.DataType, expected: list) -> None:
    assert ids(pa.chunked_array([pa.array(values, kind)])).to_pylist() == expected


@pytest.mark.parametrize("value", [["a"], b"a", {"id": "a"}, True])
def test_other_types_are_refused_in_one_line(value: object) -> None:
    with pytest.raises(DataError, match=r"^ids must be strings or integers, not [^\n]*: cast the column"):
        ids(pa.chunked_array([pa.array([value])]))


def test_a_float_that_is_not_exact_is_refused_with_its_cure() -> None:
    column = pa.chunked_array([[1.0, 1.7e18, 1.5]])
    with pytest.raises(DataError) as caught:
        checked(ids, column, "users.parquet")
    assert str(caught.value) == (
        "users.parquet: 1.7e+18 in row 2 is not an exact whole number, and ids must be strings or integers, not double"
        " (nor are 1 others): cast the column to string or int64 where the file is written"
    )


def test_undecorated() -> None:
    found = undecorated(pa.array(["00012", "12", "1001.0", "1.5", "000", "a01", None]))
    assert found.to_pylist() == ["12", "12", "1001", "1.5", "0", "a01", None]
