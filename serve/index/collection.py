"""A release's Milvus collection: written once, read, counted and dropped; it is never changed in place."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pymilvus import DataType, MilvusClient

from data.sources.schema import Feature
from data.sources.values.limits import MAX_LIST_VALUES, MAX_STRING_BYTES
from serve.filters.expression import column_name
from serve.filters.grammar import MISSING_NUMBER
from serve.index.collection_names import OWNER, exists
from serve.index.config import Algorithm, IndexConfig
from serve.index.connection import connected
from serve.index.protocol import IndexUnavailable, made_again

MAX_WAITING_BATCHES = 2
"""Batches that may wait to be written while the next ones are computed."""

MAX_MESSAGE_BYTES = 16 * 2**20
"""Size of the items of one message, as Arrow has it; a Milvus server takes 64 MiB (proxy.grpc.serverMaxRecvSize)."""

MAX_INDEXING_S = 3600
"""Seconds that a server may take to build the vector index of a collection."""


def num_lists(num_items: int) -> int:
    """Returns the number of lists of an inverted file (ivf_flat): 4 sqrt(num_items), as Milvus recommends."""
    return min(max(round(4 * num_items**0.5), 1), 65_536)


def write_collection(
    config: IndexConfig, name: str, items: Iterable[pa.Table], features: Sequence[Feature], dim: int
) -> int:
    """Writes a collection, then indexes, loads and counts it; a collection of the same name is replaced.

    The collection is loaded after its index is built. Loaded before, it would be searched for some time by an interim
    index, with which Milvus 2.3.5 found 15 of 100 items that passed a filter.

    Args:
        config: The server, and the vector index to build.
        name: The collection's physical name.
        items: Batches with the columns `row`, `vector` (list of float32) and the features.
        features: The item features; the filterable ones are stored.
        dim: Length of a vector.

    Returns:
        The number of items written.

    Raises:
        IndexUnavailable: Milvus failed, or does not hold all items; the collection has been dropped.
    """
    with connected(config) as client:
        _drop(client, config, name)
        try:
            create(client, config, name, features, dim)
            written = upsert_all(client, config, name, items, features)
            client.flush(name, timeout=config.timeout_s * 10)
            _index(client, config, name, written)
            client.load_collection(name, timeout=config.timeout_s * 10)
            if (held := count(client, config, name)) != written:
                raise IndexUnavailable(f"collection {name}: {written} items written, but Milvus counts {held}")
        except BaseException:
            _drop(client, config, name)
            raise
        return written


def _index(client: MilvusClient, config: IndexConfig, name: str, num_items: int) -> None:
    """Builds the vector index, and waits until it holds every row; Milvus 2.3.5 reports it as finished too early."""
    build: dict[Algorithm, dict[str, int]] = {
        Algorithm.flat: {},
        Algorithm.hnsw: {"M": 16, "efConstruction": 200},
        Algorithm.ivf_flat: {"nlist": num_lists(num_items)},
    }
    parameters = MilvusClient.prepare_index_params()
    parameters.add_index("vector", index_type=config.algorithm.value, metric_type="IP", params=build[config.algorithm])
    client.create_index(name, parameters, timeout=config.timeout_s)
    deadline = time.monotonic() + MAX_INDEXING_S
    while (pending := int(client.describe_index(name, "vector", timeout=config.timeout_s)["pending_index_rows"])) > 0:
        if time.monotonic() > deadline:
            raise IndexUnavailable(
                f"collection {name}: {pending} items not indexed after {MAX_INDEXING_S} s; see Milvus's index nodes"
            )
        time.sleep(0.2)


def unload(config: IndexConfig, names: Iterable[str]) -> None:
    """Has Milvus free the memory of collections, which whoever opens one of them has it load again.

    Raises:
        IndexUnavailable: Milvus does not answer.
    """
    with connected(config) as client:
        for name in names:
            if exists(client, config, name):
                client.release_collection(name, timeout=config.timeout_s)


def drop(config: IndexConfig, name: str) -> bool:
    """Drops a collection of ours, if it exists; returns whether it did.

    Raises:
        IndexUnavailable: Milvus does not answer, or the collection is not one that serve.publish made.
    """
    with connected(config) as client:
        return _drop(client, config, name)


def _drop(client: MilvusClient, config: IndexConfig, name: str) -> bool:
    if not exists(client, config, name):
        return False
    if not _is_ours(config, client.describe_collection(name, timeout=config.timeout_s)):
        raise IndexUnavailable(f"collection {name}: is not one that serve.publish made; nothing was dropped")
    client.drop_collection(name, timeout=config.timeout_s)
    return True


def _is_ours(config: IndexConfig, described: dict[str, Any]) -> bool:
    """Whether serve.publish made a collection: by its fields and its description, which Milvus Lite does not keep."""
    names = [field["name"] for field in described["fields"]]
    return names[:2] == ["row", "vector"] and (described["description"] == OWNER or config.address.database is not None)


def count(client: MilvusClient, config: IndexConfig, name: str) -> int:
    """Returns the number of items in a collection, including those written a moment ago."""
    found = client.query(
        name, filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=config.timeout_s
    )  # fmt: skip
    return int(found[0]["count(*)"])


def list_collections(client: MilvusClient, config: IndexConfig) -> list[str]:
    """Returns the names of our collections, sorted."""
    names: list[str] = client.list_collections(timeout=config.timeout_s)
    return sorted(name for name in names if name.startswith(f"{OWNER}_"))


def read_vectors(config: IndexConfig, name: str, num_items: int, dim: int) -> np.ndarray:
    """Returns all vectors of a collection, float32 [num_items, D]; entry i is the item of row i + 1.

    Raises:
        IndexUnavailable: Milvus does not answer, or the collection does not have exactly the rows 1..num_items.
    """
    vectors = np.full((num_items, dim), np.nan, dtype=np.float32)
    with connected(config) as client:
        if not exists(client, config, name):
            raise IndexUnavailable(f"collection {name} is not in Milvus at {config.address}; {made_again()}")
        client.load_collection(name, timeout=config.timeout_s * 10)
        batches = client.query_iterator(
            name, batch_size=8192, filter="row > 0", output_fields=["row", "vector"], timeout=config.timeout_s
        )  # fmt: skip
        while batch := batches.next():
            rows = np.fromiter((entity["row"] for entity in batch), dtype=np.int64, count=len(batch))
            if rows.max() > num_items:
                wrong = f"holds row {rows.max()}, the release has {num_items} items"
                raise IndexUnavailable(f"collection {name}: {wrong}; {made_again()}")
            vectors[rows - 1] = np.array([entity["vector"] for entity in batch], dtype=np.float32)
        batches.close()
    if (missing := int(np.isnan(vectors[:, 0]).sum())) > 0:
        raise IndexUnavailable(f"collection {name}: lacks {missing} of {num_items} items; {made_again()}")
    return vectors


def create(client: MilvusClient, config: IndexConfig, name: str, features: Sequence[Feature], dim: int) -> None:
    """Creates an empty collection for items with these features."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=OWNER)
    schema.add_field("row", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    for feature in features:
        field = column_name(feature.name)
        if not feature.kind.is_filterable:
            continue
        if feature.kind.is_number:
            schema.add_field(field, DataType.DOUBLE)
        elif feature.kind.is_list:
            many = {"max_capacity": MAX_LIST_VALUES, "max_length": MAX_STRING_BYTES}
            schema.add_field(field, DataType.ARRAY, element_type=DataType.VARCHAR, **many)
        else:
            schema.add_field(field, DataType.VARCHAR, max_length=MAX_STRING_BYTES)
    client.create_collection(name, schema=schema, timeout=config.timeout_s)


def upsert_all(
    client: MilvusClient, config: IndexConfig, name: str, items: Iterable[pa.Table], features: Sequence[Feature]
) -> int:
    """Upserts batches in one background thread, in their order, and returns the number of items.

    More threads are no faster, because pymilvus builds its messages in Python; and another order makes another index.
    """
    written, waiting = 0, deque[Future[int]]()
    with ThreadPoolExecutor(1, thread_name_prefix="upsert") as writer:
        try:
            for batch in items:
                waiting.append(writer.submit(_upsert, client, config, name, batch, features))
                while len(waiting) > MAX_WAITING_BATCHES or (waiting and waiting[0].done()):
                    written += waiting.popleft().result()
            return written + sum(done.result() for done in waiting)
        finally:
            writer.shutdown(cancel_futures=True)


def _upsert(client: MilvusClient, config: IndexConfig, name: str, batch: pa.Table, features: Sequence[Feature]) -> int:
    """Upserts a batch, in several messages if it is larger than a server takes; returns the number of its items."""
    rows = max(int(batch.num_rows * min(MAX_MESSAGE_BYTES / max(batch.nbytes, 1), 1)), 1)
    for start in range(0, batch.num_rows, rows):
        client.upsert(name, entities(batch.slice(start, rows), features), timeout=config.timeout_s * 10)
    return batch.num_rows


def entities(batch: pa.Table, features: Sequence[Feature]) -> list[dict[str, Any]]:
    """Returns items in the form of pymilvus: one dictionary per item."""
    columns: dict[str, list[Any]] = {"row": batch["row"].to_pylist(), "vector": _vectors(batch)}
    for feature in features:
        if feature.kind.is_filterable:
            columns[column_name(feature.name)] = _values(batch[feature.name], feature)
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _vectors(batch: pa.Table) -> list[np.ndarray]:
    vectors = batch["vector"].combine_chunks()
    flat: np.ndarray = vectors.flatten().to_numpy()
    return list(flat.reshape(batch.num_rows, -1))


def _values(column: pa.ChunkedArray, feature: Feature) -> list[Any]:
    """Returns the values that Milvus stores of a feature; missing ones as serve/filters/grammar.py says."""
    if feature.kind.is_list:
        return [values or [] for values in column.to_pylist()]
    if feature.kind.is_number:
        return pc.add(pc.fill_null(column, MISSING_NUMBER), 0.0).to_pylist()  # -0.0 becomes 0.0, which `in` tells apart
    return pc.fill_null(column, "").to_pylist()
