"""Ids and feature values to rows and back."""

import numpy as np
import pyarrow as pa
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
