"""Whether a release is what was published: `python -m serve.verify release=ID` (default: the live one).

Its files by their sha256, its weights, its golden queries, and its collection: how many items it holds, and whether a
search finds what exact search finds.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import torch

from data.cluster.console import ProgressReporter
from serve.index.collection import count
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.index.milvus_index import MilvusIndex
from serve.index.protocol import Hits, recall
from serve.releases.golden_queries import check_golden, check_retrieval
from serve.releases.registry import Registry
from serve.releases.release import Release, ReleaseError
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.retrieval import top_k

MIN_RECALL = 0.99
"""Recall@20 of the collection against exact search, below which a release is not sound."""

SAMPLE = 50
"""Items whose neighbours are searched for that."""


def verify(
    config: IndexConfig, registry: Registry, release_id: str, progress: ProgressReporter = print
) -> dict[str, Any]:
    """Looks at all of a release; what it finds, as JSON.

    Raises:
        ReleaseError, NotSealed, CheckpointError: what is wrong, and where.
        IndexUnavailable: Milvus does not answer, or the collection is not there.
    """
    started = time.perf_counter()
    release = registry.open(release_id)
    progress(f"verify: {len(release.manifest['files'])} files are those that were sealed, all weights are finite")
    check_golden(release)
    progress("verify: user tower and re-ranker answer its golden queries as at publish")
    held, num_items = num_held(config, release.collection), release.parts.items.table.num_rows
    if held != num_items:
        raise ReleaseError(f"{release.collection}: holds {held} items, the release has {num_items}; publish again")
    found = check_recall(config, release.collection, release.parts)
    asyncio.run(_golden_items(config, release))
    progress(
        f"verify: {num_items:,} items in {release.collection}, recall@20 {found:.3f}, golden queries' items among them"
    )
    progress(f"verify: release {release_id} is sound, {time.perf_counter() - started:.1f} s")
    return {"release": release_id, "num_items": num_items, "index_recall@20": found}


def check_recall(config: IndexConfig, collection: str, parts: Checkpoint) -> float:
    """Recall@20 of a collection with the items of these towers.

    Raises:
        ReleaseError: a search misses too many.
        IndexUnavailable: Milvus does not answer, or the collection is not there.
    """
    found = asyncio.run(_recall(config, collection, parts))
    if found < MIN_RECALL:
        raise ReleaseError(f"{collection}: recall@20 against exact search is {found:.3f}, below {MIN_RECALL}")
    return found


async def _golden_items(config: IndexConfig, release: Release) -> None:
    """Raises ReleaseError where the collection's items are not those of the golden queries."""
    async with _searched(config, release.collection, release.parts) as index:
        await check_retrieval(release, index)


@asynccontextmanager
async def _searched(config: IndexConfig, collection: str, parts: Checkpoint) -> AsyncIterator[MilvusIndex]:
    """A collection's index as long as the block lasts."""
    num_items, dim = parts.items.table.num_rows, parts.model.config.embedding_dim
    index = MilvusIndex.open(config, collection, collection, num_items, dim)
    try:
        yield index
    finally:
        await index.close()


def num_held(config: IndexConfig, collection: str) -> int:
    """How many items the collection holds; 0 where it is not there."""
    with connected(config) as client:
        there = client.has_collection(collection, timeout=config.timeout_s)
        return count(client, config, collection) if there else 0


async def _recall(config: IndexConfig, collection: str, parts: Checkpoint) -> float:
    """Of the collection's neighbours of some items, against exact search; ties at the end count as found."""
    item_ID = parts.reranker.item_ID
    num_items = len(item_ID) - 1
    rows = np.unique(np.linspace(1, num_items, min(SAMPLE, num_items)).astype(np.int64))
    scores = item_ID[torch.from_numpy(rows)] @ item_ID.T
    scores[:, 0] = -torch.inf
    rows_QK, scores_QK = top_k(scores, min(20, num_items))
    async with _searched(config, collection, parts) as index:
        hits = [await index.search(item_ID[row].numpy(), rows_QK.shape[1]) for row in rows]
    # scored by the release's own vectors: those of the collection may be others
    found = [Hits(h.rows, (item_ID[h.rows] @ item_ID[row]).numpy()) for h, row in zip(hits, rows, strict=True)]
    exact = [Hits(*pair) for pair in zip(rows_QK.numpy(), scores_QK.numpy(), strict=True)]
    return float(np.mean([recall(*pair) for pair in zip(found, exact, strict=True)]))
