"""What stands for a missing value becomes null, and is counted."""

import pyarrow as pa
import pytest

from data.sources.values.missing import SPELLINGS, MissingText, present


@pytest.mark.parametrize("spelling", [*SPELLINGS, "", " ", "\t", " nan "])
def test_spellings_and_blanks_are_missing(spelling: str) -> None:
    column = pa.array(["a ", spelling, None, "NA"])
    for typed in (column, column.cast(pa.large_string()), column.dictionary_encode()):
        assert present(pa.chunked_array([typed]), SPELLINGS).to_pylist() == ["a", None, None, "NA"]


def test_without_spellings_text_stays() -> None:
    assert present(pa.chunked_array([["nan", " "]])).to_pylist() == ["nan", None]


def test_nan_is_missing_and_other_types_stay() -> None:
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        values = pa.chunked_array([pa.array([1.0, float("nan")], kind)])
        assert present(values).to_pylist() == [1.0, None]
    assert present(pa.chunked_array([[1, None]])).to_pylist() == [1, None]


def test_numbers_written_as_a_spelling_are_missing() -> None:
    spellings = (*SPELLINGS, "-1", " 0 ", "9007199254740993")
    for kind in (pa.int8(), pa.int64(), pa.float16(), pa.float64(), pa.decimal128(5, 2)):
        column = pa.chunked_array([pa.array([1, -1, None, 0], kind)])
        assert present(column, spellings).is_null().to_pylist() == [False, True, True, True]
        assert present(column, SPELLINGS).equals(column)
    for kind in (pa.float16(), pa.float32()):
        tenth = pa.chunked_array([pa.array([-0.1, 0.1]).cast(kind)])
        assert present(tenth, ("-0.1",)).is_null().to_pylist() == [True, False], "which no float says exactly"
    large = pa.chunked_array([[9007199254740992, 9007199254740993]])
    assert present(large, spellings).to_pylist() == [9007199254740992, None]


def test_values_read_as_missing_are_counted_by_column() -> None:
    missing = MissingText(SPELLINGS)
    missing.present(pa.chunked_array([["a", "nan", "", " ", None]]), "items.brand")
    missing.present(pa.chunked_array([["NULL"]]), "items.brand")
    missing.present(pa.chunked_array([["a"]]), "items.title")
    MissingText(("-1",), missing.counts).present(pa.chunked_array([[-1.0, float("nan"), None, 2.0]]), "items.price")
    assert missing.counts == {"items.brand": 3, "items.price": 1}


def test_members_of_lists() -> None:
    missing, kind = MissingText(SPELLINGS), pa.list_(pa.string())
    lists = pa.chunked_array([pa.array([["a", "nan", None, "", " b "], None], kind), pa.array([["NULL"], []], kind)])
    assert missing.members(lists, "items.tags").to_pylist() == [["a", "b"], None, [], []]
    assert missing.counts == {"items.tags": 2}
