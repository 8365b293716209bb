"""Typed filters: what parses, what they mean, and that Milvus and the in-memory mask mean the same."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.sources.schema import Feature, FeatureKind
from serve.filters.expression import to_expression
from serve.filters.grammar import Filter, FilterError, parse
from serve.filters.masks import FilterColumns
from serve.index.collection import write_collection
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.index.protocol import IndexUnavailable

FEATURES = (
    Feature(name="studio", kind=FeatureKind.categorical),
    Feature(name="genres", kind=FeatureKind.multi_categorical),
    Feature(name="year", kind=FeatureKind.numeric),
    Feature(name="words", kind=FeatureKind.text),
)
HOSTILE = ('x" or row > 0 or f_studio == "', "x') or (1==1", "back\\slash", 'quote"', "ünï😀", "{x}", "[0]")
STUDIOS = ["A", "B", None, *HOSTILE]
GENRES: list[list[str]] = [["Drama"], ["Drama", "War"], [], ["War"], [HOSTILE[0], "Drama"]]
YEARS = [1990.0, 2000.5, None, -3.0, 0.0]
SIZE = 55
TABLE = pa.table(
    {
        "row": pa.array(range(1, SIZE + 1), pa.int32()),
        "studio": pa.array([STUDIOS[i % len(STUDIOS)] for i in range(SIZE)], pa.string()),
        "genres": pa.array([GENRES[i % len(GENRES)] for i in range(SIZE)], pa.list_(pa.string())),
        "year": pa.array([YEARS[i * 7 // 3 % len(YEARS)] for i in range(SIZE)], pa.float64()),
        "words": pa.array(["some words"] * SIZE, pa.string()),
    }
)


def rows(value: object) -> list[int]:
    """Item rows that pass, by the in-memory mask."""
    mask = FilterColumns(TABLE, FEATURES).mask(parse(value, FEATURES))
    return (np.flatnonzero(mask) + 1).tolist()


def condition(field: str, op: str, value: object) -> dict[str, object]:
    return {"field": field, "op": op, "value": value}


def wanted(column: str, passes: object) -> list[int]:
    return [i + 1 for i, value in enumerate(TABLE[column].to_pylist()) if passes(value)]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "column", "passes"),
    [
        (condition("studio", "==", "A"), "studio", lambda v: v == "A"),
        (condition("studio", "!=", "A"), "studio", lambda v: v is not None and v != "A"),
        (condition("studio", "in", ["A", "B"]), "studio", lambda v: v in ("A", "B")),
        (condition("studio", "==", HOSTILE[0]), "studio", lambda v: v == HOSTILE[0]),
        (condition("studio", "==", "nobody"), "studio", lambda v: False),
        (condition("genres", "contains", "War"), "genres", lambda v: "War" in v),
        (condition("genres", "contains_any", ["War", "Drama"]), "genres", lambda v: "War" in v or "Drama" in v),
        (condition("genres", "contains_all", ["War", "Drama"]), "genres", lambda v: "War" in v and "Drama" in v),
        (condition("year", "==", 2000.5), "year", lambda v: v == 2000.5),
        (condition("year", "!=", 1990), "year", lambda v: v is not None and v != 1990),
        (condition("year", "<", 1990), "year", lambda v: v is not None and v < 1990),
        (condition("year", ">=", 0), "year", lambda v: v is not None and v >= 0),
        (condition("year", "in", [0, -3]), "year", lambda v: v in (0, -3)),
        ({"not": condition("year", "<", 1990)}, "year", lambda v: v is None or v >= 1990),
        ({"all": [condition("year", ">", -1), condition("year", "<", 1)]}, "year", lambda v: v == 0),
        ({"any": [condition("year", "==", 0), condition("year", "==", -3)]}, "year", lambda v: v in (0, -3)),
    ],
)
def test_the_mask_is_what_the_filter_says(value: object, column: str, passes: object) -> None:
    assert rows(value) == wanted(column, passes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected an object"),
        ("year > 3", "expected an object"),
        ({}, "expected field, op and value"),
        ({"field": "year", "op": ">"}, "expected field, op and value"),
        ({"field": "year", "op": ">", "value": 1, "more": 2}, "more"),
        (condition("words", "==", "x"), "unknown field 'words'; known: studio, genres, year"),
        (condition("row", ">", 0), "unknown field 'row'"),
        (condition("studio", "~", "x"), "unknown operator '~'; categorical fields take == != in"),
        (condition("studio", ">", "x"), "unknown operator '>'"),
        (condition("studio", ["=="], "x"), "unknown operator"),
        (condition("studio", "==", 3), "expected a string"),
        (condition("studio", "==", ""), "1 to 256 characters"),
        (condition("studio", "==", "   "), "1 to 256 characters"),
        (condition("studio", "==", "x" * 257), "1 to 256 characters"),
        (condition("studio", "==", "nul\x00"), "control character"),
        (condition("studio", "==", "line\nbreak"), "control character"),
        (condition("studio", "==", "\ud800"), "control character"),
        (condition("year", "==", "1990"), "expected a finite number, not '1990'"),
        (condition("year", "==", True), "expected a finite number"),
        (condition("year", "==", math.nan), "expected a finite number"),
        (condition("year", "==", math.inf), "expected a finite number"),
        (condition("year", "==", 10**400), "expected a finite number"),
        (condition("year", "in", 3), "takes a list of 1 to 256 values"),
        (condition("year", "in", []), "takes a list of 1 to 256 values"),
        (condition("year", "in", [1] * 257), "takes a list of 1 to 256 values"),
        ({"all": []}, "'all' takes a list of 1 to 32 filters"),
        ({"any": [condition("year", ">", 1)] * 33}, "'any' takes a list"),
        ({"not": {"not": {"not": {"not": {"not": condition("year", ">", 1)}}}}}, "nested more than 5 deep"),
        ({"all": [{"any": [condition("year", ">", i) for i in range(17)]}] * 2}, "34 conditions, at most 32"),
    ],
)
def test_what_is_no_filter_says_why(value: object, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(value, FEATURES)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_texts_are_trimmed_as_those_of_items_are() -> None:
    """`"Ghibli "` passed nothing, and the answer said neither so nor why."""
    for op, value, wanted in (("==", " Ghibli\u00a0", "Ghibli"), ("in", ["Ghibli ", "Pixar"], ["Ghibli", "Pixar"])):
        assert parse(condition("studio", op, value), FEATURES) == parse(condition("studio", op, wanted), FEATURES)


def test_expressions_quote_their_values() -> None:
    hostile = parse(condition("studio", "==", HOSTILE[0]), FEATURES)
    assert to_expression(hostile) == 'f_studio == "x\\" or row > 0 or f_studio == \\""'
    assert to_expression(parse(condition("year", ">", 1990), FEATURES)) == "f_year > 1990.0"


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexConfig]:
    """Milvus Lite with the table, kept open."""
    config = IndexConfig(uri=str(tmp_path_factory.mktemp("filters") / "milvus.db"))
    vectors = np.eye(SIZE, 8, dtype=np.float32).reshape(-1)
    table = TABLE.append_column("vector", pa.FixedSizeListArray.from_arrays(pa.array(vectors), 8))
    with connected(config):
        write_collection(config, "filters", [table], FEATURES, dim=8)
        yield config


texts = st.sampled_from(["A", "B", "Drama", "War", *HOSTILE]) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
)
numbers = st.sampled_from([1990, 2000.5, 0, -3, -0.0, 1e-9, 1e299]) | st.floats(-1e5, 1e5)
conditions = st.one_of(
    st.tuples(st.just("studio"), st.sampled_from(["==", "!="]), texts),
    st.tuples(st.just("studio"), st.just("in"), st.lists(texts, min_size=1, max_size=4)),
    st.tuples(st.just("genres"), st.just("contains"), texts),
    st.tuples(
        st.just("genres"), st.sampled_from(["contains_any", "contains_all"]), st.lists(texts, min_size=1, max_size=3)
    ),
    st.tuples(st.just("year"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), numbers),
    st.tuples(st.just("year"), st.just("in"), st.lists(numbers, min_size=1, max_size=4)),
).map(lambda parts: condition(*parts))
filters = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(lambda part: {"not": part}, inner),
        st.builds(
            lambda name, parts: {name: parts}, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)
        ),
    ),
    max_leaves=5,
)


def depth(value: dict) -> int:
    inner = [v for name in ("all", "any") for v in value.get(name, [])] + ([value["not"]] if "not" in value else [])
    return 1 + max(map(depth, inner), default=0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=filters.filter(lambda v: depth(v) <= 5))
def test_milvus_finds_what_the_mask_passes(milvus: IndexConfig, value: dict) -> None:
    parsed: Filter = parse(value, FEATURES)
    with connected(milvus) as client:
        found = client.query("filters", filter=to_expression(parsed), output_fields=["row"], limit=1000, timeout=10)
    assert sorted(entity["row"] for entity in found) == rows(value)


def test_a_damaged_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "milvus.db").write_text("not a database")
    with pytest.raises(IndexUnavailable, match="index.uri"), connected(IndexConfig(uri=str(tmp_path / "milvus.db"))):
        pass
