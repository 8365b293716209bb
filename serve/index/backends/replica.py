"""`index.kind=replica`: each serving replica searches a FAISS copy of the release's collection."""

import asyncio

from serve.index.backends import INDEX_BACKENDS
from serve.index.backends.published_items import PublishedItems
from serve.index.config import IndexConfig
from serve.index.protocol import ItemIndex


@INDEX_BACKENDS.register("replica")
async def open_replica(config: IndexConfig, items: PublishedItems) -> ItemIndex:
    """Reads the collection into a FAISS index; raises IndexUnavailable if Milvus cannot deliver it."""
    from serve.index.replica_index import ReplicaIndex

    columns = await asyncio.to_thread(items.columns)
    return await ReplicaIndex.hydrate(config, items.collection, items.release_id, columns, items.dim, items.ties)
