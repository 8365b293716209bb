"""Ids and feature values to rows and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.dataset.vocabulary import Vocabulary, fit_vocabulary, value_lists
from data.sources.schema import Feature, FeatureKind


def test_rows_are_sorted_from_1_and_unknown_is_0() -> None:
    vocabulary = Vocabulary.of(pa.array(["b", "a", None, "b"]))
    assert vocabulary.values.to_pylist() == ["a", "b"]
    assert vocabulary.rows(pa.array(["b", "zz", None, "a"])).tolist() == [2, 0, 0, 1]
    assert len(vocabulary) == 3


@given(st.lists(st.text(max_size=5)))
def test_ids_come_back(ids: list[str]) -> None:
    vocabulary = Vocabulary.of(pa.array(ids, pa.string()))
    rows = vocabulary.rows(pa.array(ids, pa.string()))
    assert vocabulary.ids(rows).to_pylist() == ids
    assert [vocabulary.row(id_) for id_ in ids] == rows.tolist() == vocabulary.rows_by_id(ids)
    assert vocabulary.rows_by_id(["longer than any", *ids[:1]]) == [0, *rows[:1].tolist()]


def test_the_unknown_row_has_no_id() -> None:
    assert Vocabulary.of(pa.array(["a"])).ids(np.array([0, 1])).to_pylist() == [None, "a"]


def test_text_becomes_lower_case_tokens() -> None:
    column = pa.array(["The Matrix (1999)", "Amélie's  café", None, ""])
    lists = value_lists(column, Feature(name="words", kind=FeatureKind.text)).to_pylist()
    assert [[token for token in tokens if token] for tokens in lists] == [
        ["the", "matrix", "1999"],
        ["amélie", "s", "café"],
        [],
        [],
    ]


def test_categorical_becomes_lists_of_one() -> None:
    lists = value_lists(pa.array(["a", None, "b"]), Feature(name="c", kind=FeatureKind.categorical))
    assert [[value for value in values if value] for values in lists.to_pylist()] == [["a"], [], ["b"]]


def test_rare_values_stay_unknown() -> None:
    feature = Feature(name="genres", kind=FeatureKind.multi_categorical, min_count=2)
    column = pa.chunked_array([pa.array([["a", "b"], ["a"], None])])
    assert fit_vocabulary(column, feature).values.to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (FeatureKind.multi_categorical, [["a", "b", "b"], ["a"], None]),
        (FeatureKind.text, ["a b, b!", "A", None]),
        (FeatureKind.categorical, ["a", "a", "b"]),
    ],
)
def test_a_value_counts_once_in_a_row(kind: FeatureKind, column: list) -> None:
    """`min_count` is of rows: a word that one title has twice is as rare as one that it has once."""
    feature = Feature(name="field", kind=kind, min_count=2)
    assert fit_vocabulary(pa.chunked_array([pa.array(column)]), feature).values.to_pylist() == ["a"]


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("first", [0, 3])
def test_single_ids_are_found_wherever_they_are(type_: pa.DataType, is_sorted: bool, first: int) -> None:
    """In slices of arrays too, among more ids than are kept apart, and with characters of every length."""
    random = np.random.default_rng(0)
    letters = np.array(list("abé😀\x00"))
    words = sorted({"".join(random.choice(letters, random.integers(0, 5))) for _ in range(400)})
    if not is_sorted:
        random.shuffle(words)
    vocabulary = Vocabulary(pa.array(words, type_)[first:])
    expected = {word: row for row, word in enumerate(words[first:], 1)}
    for word in [*words, "b" * 9, "zz", "\ud800", "a\x00\x00\x00\x00"]:
        assert vocabulary.row(word) == expected.get(word, 0)


def test_few_ids_among_many_are_found_as_many_are() -> None:
    vocabulary = Vocabulary(pa.array([f"i{number:06d}" for number in range(10_000)]))
    few = pa.array(["i000007", None, "nobody", "i009999"])
    many = pa.array(few.to_pylist() * 100)
    assert vocabulary.rows(few).tolist() == [8, 0, 0, 10_000]
    assert vocabulary.rows(many).tolist() == [8, 0, 0, 10_000] * 100
    assert vocabulary.rows(few).dtype == vocabulary.rows(many).dtype == np.int32
