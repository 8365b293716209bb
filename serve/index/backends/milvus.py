"""`index.kind=milvus`: every search is a search on Milvus."""

import asyncio

from serve.index.backends import INDEX_BACKENDS
from serve.index.backends.published_items import PublishedItems
from serve.index.config import IndexConfig
from serve.index.protocol import ItemIndex


@INDEX_BACKENDS.register("milvus")
async def open_milvus(config: IndexConfig, items: PublishedItems) -> ItemIndex:
    """Loads the collection in Milvus; raises IndexUnavailable if Milvus does not answer or lacks the collection."""
    from serve.index.milvus_index import MilvusIndex

    named = items.collection, items.release_id, items.num_items, items.dim, items.ties, items.collection_now
    return await asyncio.to_thread(MilvusIndex.open, config, *named)
