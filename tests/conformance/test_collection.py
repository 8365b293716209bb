"""A Milvus collection is written whole or not at all, in Milvus Lite and on a server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

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
