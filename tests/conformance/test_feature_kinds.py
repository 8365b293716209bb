"""What every feature kind must do, also one that is not ours: from a column of a log to tensors and filters."""

import copy
import pickle
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data.artifacts.structured import jsonable, structured
from data.dataset.catalogue import Catalogue, feature_from_json, feature_to_json
from data.dataset.catalogue_update import updated
from data.dataset.vocabulary import fit_vocabulary
from data.sources.casts import labels
from data.sources.entities import entity_table
from data.sources.feature_kinds.kind import (
    COMPARISON,
    CONTAINMENT,
    FEATURE_KINDS,
    NUMBER,
    STRINGS,
    FeatureKind,
    feature_kind,
    register_feature_kind,
)
from data.sources.schema import Feature
from data.sources.values.numbers import numbers
from serve.api.rendering import ItemRenderer
from serve.filters.expression import to_expression
from serve.filters.grammar import FilterError, parse
from serve.filters.masks import FilterColumns
from towers.model.features import FeatureEncoder


@register_feature_kind("hashtags")
class Hashtags(FeatureKind):
    """The words of a text that begin with #."""

    arrow_type = STRINGS
    filter_operators = CONTAINMENT

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        texts = pc.fill_null(labels(column), "").to_pylist()
        tags = [[word for word in text.split() if word.startswith("#")] for text in texts]
        return pa.chunked_array([pa.array(tags, STRINGS)])

    def value_lists(self, column: pa.Array) -> pa.ListArray:
        return column


@register_feature_kind("magnitude")
class Magnitude(FeatureKind):
    """The decimal logarithm of a number."""

    arrow_type = NUMBER
    filter_operators = COMPARISON

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        return pc.log10(numbers(column))


LOG = pa.chunked_array([pa.array(["7", None, "100", "8", "7"])])
each_kind = pytest.mark.parametrize("kind", [feature_kind(name) for name in FEATURE_KINDS], ids=str)


def items(kind: FeatureKind | str, column: pa.ChunkedArray) -> Catalogue:
    """A catalogue of items with one feature, `field`, prepared from a column of a log."""
    feature = Feature(name="field", kind=kind)
    ids = [f"i{number}" for number in range(len(column))]
    table = entity_table(pa.table({"item_id": ids, "field": column}), "item_id", [feature], "items.csv")
    vocabularies = {"field": fit_vocabulary(table["field"], feature)} if feature.kind.has_vocabulary else {}
    return Catalogue("item_id", table, (feature,), vocabularies)


def matching(catalogue: Catalogue, op: str, value: object) -> list[bool]:
    """Which items pass a filter."""
    parsed = parse({"field": "field", "op": op, "value": value}, catalogue.features)
    assert to_expression(parsed)
    return FilterColumns(catalogue.table, catalogue.features).mask(parsed).tolist()


@each_kind
def test_a_cast_column_has_the_kinds_type_and_length(kind: FeatureKind) -> None:
    column = items(kind, LOG).table["field"]
    assert column.type == kind.arrow_type and len(column) == len(LOG)


@each_kind
def test_equal_values_encode_equally_and_row_0_is_empty(kind: FeatureKind) -> None:
    catalogue = items(kind, LOG)
    encoded = FeatureEncoder.fit(catalogue).encode(catalogue.table)
    tensors = [*encoded.bags.values(), *encoded.vectors.values()] or [encoded.numbers_NF]
    assert len(tensors) == 1 and len(tensors[0]) == len(LOG) + 1
    assert tensors[0][1].tolist() == tensors[0][5].tolist()
    assert tensors[0][0].tolist() == tensors[0][2].tolist(), "a missing value encodes like an unknown item"


@each_kind
def test_filters_take_the_kinds_operators_and_no_others(kind: FeatureKind) -> None:
    catalogue = items(kind, LOG)
    value = 2.0 if kind.is_number or kind.is_vector else "7"
    for op in {*COMPARISON, *CONTAINMENT}:
        given = [value] if op in ("in", "contains_any", "contains_all") else value
        if op in kind.filter_operators:
            assert len(matching(catalogue, op, given)) == len(LOG)
        else:
            with pytest.raises(FilterError):
                matching(catalogue, op, given)


@each_kind
def test_copies_are_the_kind_itself_and_json_has_its_name(kind: FeatureKind) -> None:
    assert pickle.loads(pickle.dumps(kind)) is copy.deepcopy(kind) is feature_kind(kind.name) is kind
    feature = Feature(name="field", kind=kind)
    version = {} if kind.version == 1 else {"version": kind.version}
    assert feature_to_json(feature) == jsonable(feature) | version
    limits = {"max_values": 16, "min_count": 1}
    assert feature_to_json(feature) == {"name": "field", "kind": kind.name, "column": None} | limits | version
    assert feature_from_json(feature_to_json(feature)) == feature
    assert structured(Feature, {"name": "field", "kind": kind.name}) == feature
    assert getattr(FeatureKind, kind.name) is kind


def test_a_list_kind_of_ones_own_is_encoded_and_filtered() -> None:
    catalogue = items("hashtags", pa.chunked_array([["so #funny and #short", None, "nothing", "#short"]]))
    encoded = FeatureEncoder.fit(catalogue).encode(catalogue.table)
    assert catalogue.vocabularies["field"].values.to_pylist() == ["#funny", "#short"]
    assert encoded.bags["field"].tolist() == [[0, 0], [1, 2], [0, 0], [0, 0], [2, 0]]
    assert matching(catalogue, "contains", "#short") == [True, False, False, True]
    assert matching(catalogue, "contains_all", ["#short", "#funny"]) == [True, False, False, False]


def test_a_number_kind_of_ones_own_is_encoded_and_filtered() -> None:
    catalogue = items("magnitude", pa.chunked_array([["10", "1000", None, "0"]]))
    assert catalogue.table["field"].to_pylist() == [1.0, 3.0, None, None], "the logarithm of 0 is not finite"
    encoded = FeatureEncoder.fit(catalogue).encode(catalogue.table)
    assert np.allclose(encoded.numbers_NF, [[0, 1], [-1, 0], [1, 0], [0, 1], [0, 1]])
    assert matching(catalogue, ">", 2) == [False, True, False, False]


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"feature 'x'.*'nope' is unknown; known are categorical, hashtags, .*text"):
        Feature(name="x", kind="nope")
    with pytest.raises(AttributeError, match="'nope' is unknown"):
        FeatureKind.nope  # noqa: B018


def test_a_kind_without_a_column_type_is_refused() -> None:
    with pytest.raises(TypeError, match="arrow_type must be NUMBER, STRING, STRINGS or VECTOR"):
        register_feature_kind("wrong")(type("Wrong", (FeatureKind,), {"arrow_type": pa.int8()}))


def test_a_kind_that_was_changed_encodes_as_before_for_what_was_fitted_before() -> None:
    before = {"name": "field", "kind": "text", "max_values": 16, "min_count": 1, "column": None}
    assert feature_from_json(before).kind.name == "text_v1"
    assert feature_from_json(before, is_fitted=False).kind.name == "text", "what is fitted from now on is of today"
    assert feature_from_json(feature_to_json(feature_from_json(before))).kind.name == "text_v1"


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.decimal128(5, 2), pa.decimal256(40, 8)], ids=str)
def test_a_number_of_a_short_type_is_the_one_that_its_text_says(kind: pa.DataType) -> None:
    """4.1 as a float32 is 4.099999904632568 as a float64: no filter found the item at its own value."""
    written = ["4.1", "0.7", None, "-2"]
    values = [4.1, 0.7, None, -2.0] if pa.types.is_floating(kind) else [text and Decimal(text) for text in written]
    prices = pa.chunked_array([pa.array(values).cast(kind)])
    catalogue = items("numeric", prices)
    assert catalogue.table["field"].to_pylist() == [4.1, 0.7, None, -2.0]
    assert matching(catalogue, "==", 4.1) == matching(catalogue, ">=", 4.1) == [True, False, False, False]
    assert matching(catalogue, "in", [0.7]) == [False, True, False, False]
    (shown,) = ItemRenderer(catalogue).render([1], [{}])
    assert b'"field":4.1}' in orjson.dumps(shown)
    as_text = items("numeric", pa.chunked_array([pa.array(written, pa.string())]))
    table = catalogue.table.set_column(1, "title", catalogue.table["item_id"])
    table = table.append_column("row", pa.array([1, 2, 3, 4], pa.int32()))
    assert not len(updated(catalogue.with_table(table), as_text.table).changed), "the same from a file of text"
