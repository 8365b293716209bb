"""Verifies that a release is what was published: the mechanism behind `python -m serve.verify`.

It checks the files against their sha256, the weights, the golden queries, and the Milvus collection: how many items it
holds, and whether a search in it finds what exact search finds.

Shape legend: Q queries, K neighbours of each, I items with the padding row 0, D dimension.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from data.cluster.console import ProgressReporter
from serve.index.collection import count
from serve.index.collection_names import exists
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.index.milvus_index import MilvusIndex
from serve.index.protocol import Hits, IndexUnavailable, made_again, recall
from serve.releases.golden_queries import check_golden, check_retrieval
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.ranking import BLOCK_ITEMS
from towers.evaluation.retrieval import BestColumns

T = TypeVar("T")

ADDRESS = "index_address"
"""Entry of a release's manifest: in which Milvus its collection was made, as `index.uri` without user and password."""

MIN_RECALL = 0.99
"""The lowest recall@20 against exact search that the collection of a sound release has."""

NUM_SAMPLED = 50
"""Items whose neighbours are searched to measure that recall."""


def verify(
    config: IndexConfig, registry: ReleaseRegistry, release_id: str, progress: ProgressReporter = print
) -> dict[str, Any]:
    """Checks everything about a release; returns its id, number of items and recall@20 as JSON values.

    Raises:
        ReleaseError, NotSealed, CheckpointError: the release is not sound; the message says what is wrong.
        IndexUnavailable: Milvus does not answer, or the collection does not exist.
    """
    started = time.perf_counter()
    release = registry.open(release_id)
    progress(f"verify: {len(release.manifest['files'])} files are as they were sealed, all weights are finite")
    check_golden(release)
    progress("verify: user tower and re-ranker reproduce its golden queries")
    held, num_items = count_items(config, release.collection), release.parts.items.num_ids
    if held != num_items:
        raise ReleaseError(f"{release.collection}: {_not_whole(config, release, held)}")
    measured = check_recall(config, release.collection, release.parts, made_again(release_id))
    _once_more(lambda: asyncio.run(_check_retrieval(config, release)))
    progress(
        f"verify: the {num_items:,} items in {release.collection} are found with recall@20 {measured:.3f}, those of the"
        " golden queries too"
    )
    progress(f"verify: release {release_id} is sound, {time.perf_counter() - started:.1f} s")
    return {"release": release_id, "num_items": num_items, "index_recall@20": measured}


def _not_whole(config: IndexConfig, release: Release, held: int | None) -> str:
    """What is wrong with a collection that holds so many items, or is not there (None), and what to do."""
    here = f"Milvus at {config.address} (index.uri)"
    found = f"holds {held} items in {here}, the release has {release.parts.items.num_ids}"
    said = f"is not in {here}" if held is None else found
    if (made_at := other_milvus(config, release.manifest)) is None:
        return f"{said}; {made_again(release.id)}"
    return f"{said}; it was published to {made_at}: give index.uri={made_at}"


def other_milvus(config: IndexConfig, manifest: Mapping[str, Any]) -> str | None:
    """The Milvus to which a release was published, if `index.uri` names another one now; None if it does not.

    An earlier version has not recorded where it was, which is None too.
    """
    made_at: str | None = manifest.get(ADDRESS)
    return None if made_at == f"{config.address}" else made_at


def check_recall(config: IndexConfig, collection: str, parts: Checkpoint, cure: str) -> float:
    """The recall@20 of a collection against exact search with the item vectors of these towers.

    Args:
        cure: what to do where it is too low, for the message.

    Raises:
        ReleaseError: it is below MIN_RECALL.
        IndexUnavailable: Milvus does not answer, or the collection does not exist.
    """
    measured = _once_more(lambda: asyncio.run(_recall(config, collection, parts)))
    if measured < MIN_RECALL:
        raise ReleaseError(
            f"{collection}: recall@20 against exact search is {measured:.3f}, below {MIN_RECALL}; {cure}"
        )
    return measured


def count_items(config: IndexConfig, collection: str) -> int | None:
    """The number of items in a collection, which Milvus loads for that; None where it does not exist."""
    return _once_more(lambda: _count(config, collection))


def _count(config: IndexConfig, collection: str) -> int | None:
    with connected(config) as client:
        if not exists(client, config, collection):
            return None
        client.load_collection(collection, timeout=config.timeout_s * 10)
        return count(client, config, collection)


def _once_more(look: Callable[[], T]) -> T:
    """What `look` finds in a collection that it has loaded; where that fails, it looks again.

    A prune that does not know yet that the release will be live may have had Milvus free the memory meanwhile.
    """
    try:
        return look()
    except IndexUnavailable:
        return look()


async def _check_retrieval(config: IndexConfig, release: Release) -> None:
    """Checks that the collection finds the golden queries' candidates."""
    async with _opened_index(config, release.collection, release.parts) as index:
        await check_retrieval(release, index)


@asynccontextmanager
async def _opened_index(config: IndexConfig, collection: str, parts: Checkpoint) -> AsyncIterator[MilvusIndex]:
    """An index on a collection, closed at the end of the block."""
    num_items, dim = parts.items.num_ids, parts.model.config.embedding_dim
    index = MilvusIndex.open(config, collection, collection, num_items, dim)
    try:
        yield index
    finally:
        await index.close()


async def _recall(config: IndexConfig, collection: str, parts: Checkpoint) -> float:
    """The recall of a sample of items' neighbours; items that tie with the last neighbour count as found."""
    item_ID = parts.item_vectors_ID
    num_items = len(item_ID) - 1
    rows_Q = np.unique(np.linspace(1, num_items, min(NUM_SAMPLED, num_items)).astype(np.int64))
    best = BestColumns(min(20, num_items))
    for items_bD in item_ID[1:].split(BLOCK_ITEMS):
        best.add(item_ID[torch.from_numpy(rows_Q)] @ items_bD.T)
    columns_QK, scores_QK = best.found()
    rows_QK = columns_QK + 1
    async with _opened_index(config, collection, parts) as index:
        hits = [await index.search(item_ID[row].numpy(), rows_QK.shape[1]) for row in rows_Q]
    # The hits are scored by the release's own vectors: those of the collection may be the wrong ones.
    found = [Hits(h.rows, (item_ID[h.rows] @ item_ID[row]).numpy()) for h, row in zip(hits, rows_Q, strict=True)]
    exact = [Hits(*pair) for pair in zip(rows_QK.numpy(), scores_QK.numpy(), strict=True)]
    return float(np.mean([recall(*pair) for pair in zip(found, exact, strict=True)]))
