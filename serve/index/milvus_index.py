"""`index.kind=milvus`: every search goes to Milvus. For catalogues beyond a replica's memory."""

from contextlib import ExitStack
from typing import Any

import numpy as np
from pymilvus import AsyncMilvusClient
from pymilvus.exceptions import MilvusException

from serve.filters.expression import to_expression
from serve.filters.grammar import Filter
from serve.index.collection import num_lists
from serve.index.config import Algorithm, IndexConfig
from serve.index.connection import async_client, connected, reached, unavailable
from serve.index.protocol import Hits, IndexUnavailable, check_query

OVERFETCH = 200
"""Up to this many exclusions are met by asking for more; beyond, they go into the expression (NOT IN costs 4 ms)."""

MAX_K = 16_384
"""Milvus's own limit on hits per search."""

LOOKED_AT = 8
"""An inverted file compares at least so many items for each that is wanted."""


class MilvusIndex:
    """One release's collection behind AsyncMilvusClient; opened by `open`, on the event loop that it serves."""

    def __init__(
        self, config: IndexConfig, collection: str, release_id: str, num_items: int, dim: int, address: str
    ) -> None:
        self.release_id = release_id
        self.num_items = num_items
        self.dim = dim
        self._config = config
        self._collection = collection
        self._address = address
        self._client: AsyncMilvusClient | None = None
        self._held = ExitStack()
        self.approximate = config.algorithm is not Algorithm.flat

    @classmethod
    def open(cls, config: IndexConfig, collection: str, release_id: str, num_items: int, dim: int) -> "MilvusIndex":
        """Checks that the collection is there, and loads it; blocks for as long as that takes.

        Raises:
            IndexUnavailable: it is not, or Milvus does not answer.
        """
        held = ExitStack()
        address = held.enter_context(reached(config))
        with connected(config) as client:
            if not client.has_collection(collection, timeout=config.timeout_s):
                raise IndexUnavailable(f"collection {collection} is not in Milvus at {config.uri}; publish again")
            client.load_collection(collection, timeout=config.timeout_s * 10)
        index = cls(config, collection, release_id, num_items, dim, address)
        index._held = held
        return index

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex."""
        return await self._found(query_D, k, filter, exclude, thorough=False)

    async def exactly(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex: as near to exact as the collection's index allows."""
        return await self._found(query_D, k, filter, exclude, thorough=True)

    def passing(self, filter: Filter | None) -> float | None:
        """See ItemIndex."""
        return 1.0 if filter is None else None

    async def _found(
        self, query_D: np.ndarray, k: int, filter: Filter | None, exclude: np.ndarray | None, thorough: bool
    ) -> Hits:
        check_query(query_D, self.dim)
        excluded = np.unique(exclude) if exclude is not None else np.zeros(0, dtype=np.int64)
        parts = [f"({to_expression(filter)})"] if filter is not None else []
        if len(excluded) > OVERFETCH:
            parts.append(f"row not in {excluded.tolist()}")
            limit = k
        else:
            limit = k + len(excluded)
        limit = max(min(limit, self.num_items, MAX_K), 1)
        first = self._utmost() if thorough else self._effort(k + len(excluded), filtered=filter is not None)
        rows, scores = await self._search(query_D, limit, " and ".join(parts), first)
        if self.approximate and not thorough and len(rows) < limit:  # few are eligible, or too few were looked at
            rows, scores = await self._search(query_D, limit, " and ".join(parts), self._utmost())
        kept = ~np.isin(rows, excluded)
        return Hits.sorted(rows[kept], scores[kept], k)

    def _effort(self, wanted: int, filtered: bool) -> dict[str, int]:
        """How far an approximate search looks around for so many items, those that it leaves out among them."""
        match self._config.algorithm:
            case Algorithm.hnsw:
                return {"ef": min(max(2 * wanted, 128), 2 * MAX_K)}
            case Algorithm.ivf_flat:
                lists = num_lists(self.num_items)
                probes = max(64, lists // 16, LOOKED_AT * wanted * lists // self.num_items)
                return {"nprobe": min(4 * probes if filtered else probes, lists)}
            case Algorithm.flat:
                return {}

    def _utmost(self) -> dict[str, int]:
        match self._config.algorithm:
            case Algorithm.hnsw:
                return {"ef": 2 * MAX_K}
            case Algorithm.ivf_flat:
                return {"nprobe": num_lists(self.num_items)}
            case Algorithm.flat:
                return {}

    async def _search(
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
        if self._client is not None:
            await self._client.close()
        self._held.close()

    async def _call(self, method: str, **arguments: Any) -> Any:
        if self._client is None:
            self._client = async_client(self._config, self._address)
        try:
            return await getattr(self._client, method)(self._collection, timeout=self._config.timeout_s, **arguments)
        except MilvusException as e:
            raise unavailable(self._config, e) from e
