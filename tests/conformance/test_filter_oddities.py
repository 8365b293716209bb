"""Masks, Milvus Lite and a Milvus server pass the same items, whatever oddities their features hold.

What is right is said by `meets`, a plain loop over the items.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import MilvusClient

from data.sources.schema import Feature, FeatureKind
from serve.filters.expression import to_expression
from serve.filters.grammar import parse
from serve.filters.masks import FilterColumns
from serve.index.collection import write_collection
from serve.index.collection_names import collection_name
from serve.index.config import IndexConfig
from serve.index.connection import connected

FEATURES = (
    Feature(name="brand", kind=FeatureKind.categorical),
    Feature(name="tags", kind=FeatureKind.multi_categorical),
    Feature(name="price", kind=FeatureKind.numeric),
)
BRANDS = [None, "a", "A", "a b", "q\"uo'te", "back\\slash", "%", "_", "ä", "é", "日本", "🦊", "null", "1", "x" * 256]
PRICES = [
    None,
    0.0,
    -0.0,
    0.1 + 0.2,
    0.3,
    16777217.0,
    16777216.0,
    2.0**53,
    2.0**53 + 2,
    1e20,
    -5.0,
    1e299,
    -1e299,
    5e-324,
]
TAGS: list[list[str] | None] = [
    None, [], ["a"], ["a", "b"], ["b", "a", "a"], ['q"', "\\"], [f"m{n}" for n in range(300)], ["ä", "🦊"],
]  # fmt: skip
ITEMS = [
    {"brand": brand, "price": price, "tags": tags}
    for brand, price, tags in itertools.islice(
        zip(itertools.cycle(BRANDS), itertools.cycle(PRICES), itertools.cycle(TAGS), strict=False), 15 * 14 * 4
    )
]
DIM = 8


def filters() -> Iterator[dict[str, Any]]:
    """Every operator with every value, negated too, and some combinations."""
    brands = [brand for brand in BRANDS if brand is not None]
    simple: list[dict[str, Any]] = [
        {"field": "brand", "op": op, "value": brand} for brand in [*brands, "nobody's"] for op in ("==", "!=")
    ]
    simple += [{"field": "brand", "op": "in", "value": [brand, "a", "zz"]} for brand in brands]
    prices: list[float] = [price for price in PRICES if price is not None]
    for price in [*prices, 2**53 + 1, 10**19]:
        simple += [{"field": "price", "op": op, "value": price} for op in ("==", "!=", "<", "<=", ">", ">=")]
        simple.append({"field": "price", "op": "in", "value": [price, 7]})
    for tag in ["a", "b", 'q"', "\\", "m0", "m64", "m299", "ä", "🦊", "nobody's"]:
        simple.append({"field": "tags", "op": "contains", "value": tag})
        simple += [{"field": "tags", "op": op, "value": [tag, "b"]} for op in ("contains_any", "contains_all")]
    simple.append({"field": "tags", "op": "contains_all", "value": [f"m{n}" for n in range(256)]})
    simple.append({"field": "brand", "op": "in", "value": [*brands, *(f"none{n}" for n in range(256 - len(brands)))]})
    yield from simple
    yield from ({"not": condition} for condition in simple)
    for first, second in zip(simple, simple[7:], strict=False):
        yield {"all": [{"not": first}, second]}
        yield {"not": {"any": [first, {"not": second}]}}


def meets(item: dict[str, Any], filter: dict[str, Any]) -> bool:
    """Whether an item passes; a condition on a missing value is false."""
    match filter:
        case {"not": part}:
            return not meets(item, part)
        case {"all": parts}:
            return all(meets(item, part) for part in parts)
        case {"any": parts}:
            return any(meets(item, part) for part in parts)
    value, op, wanted = item[filter["field"]], filter["op"], filter["value"]
    if value is None or value == []:
        return False
    if filter["field"] == "price":
        wanted = [float(each) for each in wanted] if op == "in" else float(wanted)
    return bool(
        {
            "==": lambda: value == wanted,
            "!=": lambda: value != wanted,
            "<": lambda: value < wanted,
            "<=": lambda: value <= wanted,
            ">": lambda: value > wanted,
            ">=": lambda: value >= wanted,
            "in": lambda: value in wanted,
            "contains": lambda: wanted in value,
            "contains_any": lambda: any(each in value for each in wanted),
            "contains_all": lambda: all(each in value for each in wanted),
        }[op]()
    )


def table() -> pa.Table:
    columns = {name: [item[name] for item in ITEMS] for name in ("brand", "price")}
    tags = pa.array([item["tags"] for item in ITEMS], pa.list_(pa.string()))
    return pa.table({"row": np.arange(1, len(ITEMS) + 1), **columns, "tags": tags})


def passing(filter: dict[str, Any]) -> list[int]:
    return [row for row, item in enumerate(ITEMS, 1) if meets(item, filter)]


def test_masks_pass_what_the_loop_passes() -> None:
    columns = FilterColumns(table(), FEATURES)
    for filter in filters():
        mask_N = columns.mask(parse(filter, FEATURES))
        assert (mask_N.nonzero()[0] + 1).tolist() == passing(filter), filter


@pytest.fixture(scope="module", params=["lite", "server"])
def milvus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[MilvusClient, str]]:
    folder = tmp_path_factory.mktemp("oddities")
    uri = f"{folder}/milvus.db" if request.param == "lite" else request.getfixturevalue("milvus_server")
    config, name = IndexConfig(uri=uri), collection_name("oddities-0")
    random = np.random.default_rng(0).standard_normal((len(ITEMS), DIM)).astype(np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(random.ravel()), DIM).cast(pa.list_(pa.float32()))
    with connected(config) as client:
        write_collection(config, name, [table().append_column("vector", vectors)], FEATURES, DIM)
        yield client, name
        client.drop_collection(name, timeout=10)


@pytest.mark.slow
def test_milvus_passes_what_the_loop_passes(milvus: tuple[MilvusClient, str]) -> None:
    client, name = milvus
    for filter in filters():
        expression = to_expression(parse(filter, FEATURES))
        found = client.query(name, filter=expression, output_fields=["row"], limit=len(ITEMS), timeout=30)
        assert sorted(entity["row"] for entity in found) == passing(filter), filter
