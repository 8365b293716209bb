"""The Milvus index: every search is a search on Milvus, for catalogues beyond a replica's memory."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from pymilvus import AsyncMilvusClient

from data.cluster.failure_log import FailureLog
from serve.filters.expression import to_expression
from serve.filters.grammar import Filter
from serve.index.collection import num_lists
from serve.index.collection_names import exists, with_algorithm_of
from serve.index.config import Algorithm, IndexConfig
from serve.index.connection import ERRORS, async_client, connected, milvus_address, unavailable
from serve.index.protocol import MAX_TIED, TIE_MARGIN, CollectionMissing, Hits, check_query, made_again
from towers.model.tie_order import TieOrder

MAX_OVERFETCH = 200
"""Up to this many excluded items are handled by asking for that many more hits; more of them go into the filter
expression, where NOT IN costs about 4 ms."""

MAX_K = 16_384
"""Most hits of one search, by Milvus's own limit."""

COMPARED_PER_HIT = 8
"""An inverted file compares at least this many items, on average, for each hit asked for."""

REOPEN_S = 2.0
"""Seconds between two attempts to open the collection again while searches fail."""

log_failure = FailureLog("milvus")


class MilvusIndex:
    """Searches one release's collection through pymilvus's asynchronous client.

    It is made by `open` and used on one event loop.
    """

    def __init__(
        self,
        config: IndexConfig,
        collection: str,
        release_id: str,
        num_items: int,
        dim: int,
        address: str,
        ties: TieOrder | None = None,
        collection_now: Callable[[], str] | None = None,
    ) -> None:
        self.release_id = release_id
        self.num_items = num_items
        self.dim = dim
        self._config = config
        self._collection, self._collection_now = collection, collection_now
        self._address = address
        self._ties = ties
        self._client: AsyncMilvusClient | None = None
        self._open_resources = ExitStack()
        self._reopening: asyncio.Task[None] | None = None
        self._reopened_at = -REOPEN_S
        self.approximate = config.algorithm is not Algorithm.flat

    @classmethod
    def open(
        cls,
        config: IndexConfig,
        collection: str,
        release_id: str,
        num_items: int,
        dim: int,
        ties: TieOrder | None = None,
        collection_now: Callable[[], str] | None = None,
    ) -> "MilvusIndex":
        """Loads the collection in Milvus, which blocks as long as that takes; it is searched by its own vector index.

        Args:
            collection_now: see `PublishedItems`; asked where the collection is gone while the index is open.

        Raises:
            IndexUnavailable: Milvus does not have the collection, or does not answer.
        """
        config, address, resources = _opened(config, collection)
        index = cls(config, collection, release_id, num_items, dim, address, ties, collection_now)
        index._open_resources = resources
        return index

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex."""
        return await self._search(query_D, k, filter, exclude, exhaustive=False)

    async def search_exact(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex; as near to exact as the collection's vector index allows."""
        return await self._search(query_D, k, filter, exclude, exhaustive=True)

    def selectivity(self, filter: Filter | None) -> float | None:
        """See ItemIndex."""
        return 1.0 if filter is None else None

    def is_prepared(self, filter: Filter) -> bool:
        """See ItemIndex; Milvus finds which items pass."""
        return True

    async def _search(
        self, query_D: np.ndarray, k: int, filter: Filter | None, exclude: np.ndarray | None, exhaustive: bool
    ) -> Hits:
        check_query(query_D, self.dim)
        excluded = np.unique(exclude) if exclude is not None else np.zeros(0, dtype=np.int64)
        parts = [f"({to_expression(filter)})"] if filter is not None else []
        if len(excluded) > MAX_OVERFETCH:
            parts.append(f"row not in {excluded.tolist()}")
            limit = k
        else:
            limit = k + len(excluded)
        expression = " and ".join(parts)
        limit = max(min(limit + TIE_MARGIN, self.num_items, MAX_K), 1)
        effort = self._max_effort() if exhaustive else self._effort(k + len(excluded), filtered=filter is not None)
        rows, scores = await self._call_search(query_D, limit, expression, effort)
        if self.approximate and not exhaustive and len(rows) < limit:
            # Either the search compared too few eligible items, or no more exist.
            rows, scores = await self._call_search(query_D, limit, expression, self._max_effort())
        hits = self._best(rows, scores, excluded, k)
        more = min(limit + MAX_TIED, self.num_items, MAX_K)
        if len(hits.rows) == k > 0 and limit == len(rows) < more and scores.min() >= hits.scores[-1]:
            # The last hit ties with all hits behind it, and perhaps with further items.
            rows, scores = await self._call_search(query_D, more, expression, self._max_effort())
            hits = self._best(rows, scores, excluded, k)
        return hits

    def _best(self, rows: np.ndarray, scores: np.ndarray, excluded: np.ndarray, k: int) -> Hits:
        eligible = ~np.isin(rows, excluded)
        return Hits.sorted(rows[eligible], scores[eligible], k, self._ties)

    def _effort(self, num_hits: int, filtered: bool) -> dict[str, int]:
        """Returns the search parameters of the vector index that suffice for so many hits, excluded ones included."""
        match self._config.algorithm:
            case Algorithm.hnsw:
                return {"ef": min(max(2 * num_hits, 128), 2 * MAX_K)}
            case Algorithm.ivf_flat:
                lists = num_lists(self.num_items)
                probes = max(64, lists // 16, COMPARED_PER_HIT * num_hits * lists // self.num_items)
                return {"nprobe": min(4 * probes if filtered else probes, lists)}
            case Algorithm.flat:
                return {}

    def _max_effort(self) -> dict[str, int]:
        """Returns the search parameters with which the vector index misses least."""
        match self._config.algorithm:
            case Algorithm.hnsw:
                return {"ef": 2 * MAX_K}
            case Algorithm.ivf_flat:
                return {"nprobe": num_lists(self.num_items)}
            case Algorithm.flat:
                return {}

    async def _call_search(
        self, query_D: np.ndarray, limit: int, expression: str, effort: dict[str, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        found = await self._call(
            "search",
            data=[query_D.tolist()],
            filter=expression,
            limit=limit,
            search_params={"metric_type": "IP", "params": effort},
            consistency_level="Bounded",
        )
        return np.array(found[0].ids, dtype=np.int64), np.array(found[0].distances, dtype=np.float32)

    async def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See ItemIndex."""
        found = await self._call("get", ids=[int(row) for row in rows], output_fields=["row", "vector"])
        by_row = {entity["row"]: entity["vector"] for entity in found}
        return np.array([by_row[int(row)] for row in rows], dtype=np.float32).reshape(len(rows), self.dim)

    async def close(self) -> None:
        """See ItemIndex."""
        if self._reopening is not None:
            self._reopening.cancel()
        await self._close_client()
        await asyncio.to_thread(self._open_resources.close)

    async def _close_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _call(self, method: str, **arguments: Any) -> Any:
        if self._client is None:
            self._client = async_client(self._config, self._address)
        try:
            return await getattr(self._client, method)(self._collection, timeout=self._config.timeout_s, **arguments)
        except (*ERRORS, ValueError) as e:  # ValueError: the channel was closed, because the index is opened again
            self._reopen_soon()
            raise unavailable(self._config, e) from e

    def _reopen_soon(self) -> None:
        """Opens the collection again in the background, at most every REOPEN_S seconds, while searches fail.

        The owner of a .db may have ended, so that another process owns it, or nobody; a server may have been started
        anew; somebody may have released the collection, or lost it and published the release again.
        """
        is_reopening = self._reopening is not None and not self._reopening.done()
        if not is_reopening and time.monotonic() - self._reopened_at > REOPEN_S:
            self._reopening = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        try:
            collection, config, address, resources = await asyncio.to_thread(self._open_again)
        except Exception as e:  # the searches that follow will fail, say so, and lead here again
            log_failure(f"collection {self._collection} is not opened again", e)
        else:
            before, self._address, self._open_resources = self._open_resources, address, resources
            self._config, self._collection = config, collection
            self.approximate = config.algorithm is not Algorithm.flat
            await self._close_client()
            await asyncio.to_thread(before.close)
        finally:
            self._reopened_at = time.monotonic()

    def _open_again(self) -> tuple[str, IndexConfig, str, ExitStack]:
        try:
            return self._collection, *_opened(self._config, self._collection)
        except CollectionMissing:
            if self._collection_now is None:
                raise
            return (name := self._collection_now()), *_opened(self._config, name)


def _opened(config: IndexConfig, collection: str) -> tuple[IndexConfig, str, ExitStack]:
    """Loads a collection in Milvus; returns its config, its address, and what is to be closed when it is not needed.

    Raises:
        IndexUnavailable: Milvus does not have the collection, or does not answer.
    """
    with ExitStack() as resources:
        address = resources.enter_context(milvus_address(config))
        with connected(config) as client:
            if not exists(client, config, collection):
                raise CollectionMissing(f"collection {collection} is not in Milvus at {config.address}; {made_again()}")
            client.load_collection(collection, timeout=config.timeout_s * 10)
            config = with_algorithm_of(client, config, collection)
        return config, address, resources.pop_all()
