"""`index.kind=replica`: each serving replica searches a FAISS copy of the release's item vectors."""

import asyncio

from serve.index.backends import INDEX_BACKENDS
from serve.index.backends.published_items import PublishedItems
from serve.index.config import IndexConfig
from serve.index.protocol import ItemIndex


@INDEX_BACKENDS.register("replica")
async def open_replica(config: IndexConfig, items: PublishedItems) -> ItemIndex:
    """Reads the release's vectors into a FAISS index, or its collection where the release has no file of them.

    Raises:
        IndexUnavailable: The collection is needed, and Milvus cannot deliver it.
    """
    from serve.index.replica_index import ReplicaIndex

    columns, vectors_ND = await asyncio.to_thread(lambda: (items.columns(), items.vectors()))
    return await ReplicaIndex.hydrate(
        config, items.collection, items.release_id, columns, items.dim, items.ties, vectors_ND
    )
