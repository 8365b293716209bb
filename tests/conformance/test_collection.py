"""A Milvus collection is written whole or not at all, in Milvus Lite and on a server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from data.sources.schema import Feature, FeatureKind
from data.sources.values.limits import MAX_FILTERED_FEATURES
from serve.filters.expression import to_expression
from serve.filters.grammar import Condition
from serve.filters.masks import FilterColumns
from serve.index.collection import count, list_collections, unload, write_collection
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.index.milvus_index import MilvusIndex
from serve.index.protocol import IndexUnavailable
from serve.index.replica_index import ReplicaIndex
from tests.conformance.indexed_items import CATALOGUE, COLLECTION, COLUMNS, DIM, FEATURES, SIZE, VECTORS, fill


@pytest.mark.parametrize("where", ["lite", pytest.param("server", marks=pytest.mark.slow)])
def test_a_collection_is_whole_or_not_there(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = str(tmp_path / "milvus.db") if where == "lite" else request.getfixturevalue("milvus_server")
    config, fewer = IndexConfig(uri=uri), FilterColumns(CATALOGUE.table[:100], FEATURES)

    def dies_on_the_way() -> Iterator[pa.Table]:
        flat = pa.array(VECTORS[:10].reshape(-1))
        yield CATALOGUE.table[:10].append_column("vector", pa.FixedSizeListArray.from_arrays(flat, DIM))
        raise RuntimeError("the tower died")

    with connected(config) as client:
        with pytest.raises(RuntimeError, match="the tower died"):
            write_collection(config, COLLECTION, dies_on_the_way(), FEATURES, DIM)
        assert COLLECTION not in list_collections(client, config)
        fill(config)
        fill(config)  # again, over a leftover
        assert count(client, config, COLLECTION) == SIZE
        unload(config, [COLLECTION, "twotower_that_is_not_there"])
        assert client.get_load_state(COLLECTION)["state"].name == "NotLoad"
        with pytest.raises(IndexUnavailable, match="holds row"):
            asyncio.run(ReplicaIndex.hydrate(config, COLLECTION, "r", fewer, DIM))
        client.drop_collection(COLLECTION, timeout=10)
        with pytest.raises(IndexUnavailable, match="publish"):
            asyncio.run(ReplicaIndex.hydrate(config, COLLECTION, "r", COLUMNS, DIM))
        with pytest.raises(IndexUnavailable, match="publish"):
            MilvusIndex.open(config, COLLECTION, "r", SIZE, DIM)


@pytest.mark.parametrize("where", ["lite", pytest.param("server", marks=pytest.mark.slow)])
def test_features_have_names_in_any_script(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = str(tmp_path / "milvus.db") if where == "lite" else request.getfixturevalue("milvus_server")
    config, names = (
        IndexConfig(uri=uri),
        ["größe", "サイズ", "f_" + "n" * 300, *(f"f{n}" for n in range(MAX_FILTERED_FEATURES - 3))],
    )
    features = [Feature(name=name, kind=FeatureKind.categorical) for name in names]
    flat = pa.array(VECTORS[:10].reshape(-1))
    items = {"row": CATALOGUE.table["row"][:10], "vector": pa.FixedSizeListArray.from_arrays(flat, DIM)}
    items |= {name: [f"{name}-{n % 2}"[:1000] for n in range(10)] for name in names}
    with connected(config) as client:
        write_collection(config, COLLECTION, iter([pa.table(items)]), features, DIM)
        for name in names:
            expression = to_expression(Condition(name, FeatureKind.categorical, "==", f"{name}-1"[:1000]))
            found = client.query(COLLECTION, filter=expression, output_fields=["row"])
            assert sorted(item["row"] for item in found) == [2, 4, 6, 8, 10], name
        client.drop_collection(COLLECTION, timeout=10)
