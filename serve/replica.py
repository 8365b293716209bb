"""`index.kind=replica`: a FAISS copy of the collection in each serving process.

Shape legend: N items (rows 1..N at entries 0..N-1), D dimension, K hits.
"""

import asyncio

import faiss
import numpy as np

from data.prepared import Catalogue
from serve.collection import read_vectors
from serve.filters import Filter
from serve.index import Hits, IndexConfig, check_query
from serve.masks import FilterColumns

NPROBE = 64
"""Lists of the inverted file that a search looks into."""

SPARE = 16
"""Hits beyond k asked of FAISS, so that ties at the boundary are settled by row and not by chance."""


class ReplicaIndex:
    """Exact inner product up to `exact_up_to` items, an inverted file above; filters and exclusions as bitmaps.

    A search runs on the caller's thread: 100,000 x 64 exactly takes 0.7 ms, less than handing it to another thread and
    waiting for its turn there. FAISS uses one thread per search, so that replicas do not fight over cores.
    """

    def __init__(self, release_id: str, vectors_ND: np.ndarray, columns: FilterColumns, exact_up_to: int) -> None:
        self.release_id = release_id
        self.num_items, self.dim = vectors_ND.shape
        self._columns = columns
        self._exact = faiss.IndexFlatIP(self.dim)
        self._exact.add(np.ascontiguousarray(vectors_ND, dtype=np.float32))
        self._fast = _inverted_file(vectors_ND) if self.num_items > exact_up_to else None
        faiss.omp_set_num_threads(1)

    @classmethod
    async def hydrate(
        cls, config: IndexConfig, collection: str, release_id: str, items: Catalogue, dim: int
    ) -> "ReplicaIndex":
        """Reads the release's collection from Milvus, in a thread.

        Raises:
            IndexUnavailable: Milvus does not answer, or its collection is not whole.
        """

        def read() -> ReplicaIndex:
            vectors_ND = read_vectors(config, collection, items.table.num_rows, dim)
            return cls(release_id, vectors_ND, FilterColumns(items.table, items.features), config.exact_up_to)

        return await asyncio.to_thread(read)

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex."""
        check_query(query_D, self.dim)
        allowed_N = self._allowed(filter, exclude)
        if allowed_N is not None and not allowed_N.any():
            return Hits(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
        eligible = self.num_items if allowed_N is None else int(allowed_N.sum())
        if self._fast is not None:
            hits = self._search(self._fast, query_D, k, allowed_N)
            if len(hits.rows) >= min(k, eligible):
                return hits
        return self._search(self._exact, query_D, k, allowed_N)

    def _allowed(self, filter: Filter | None, exclude: np.ndarray | None) -> np.ndarray | None:
        """bool [N] of the eligible items; None where all are."""
        if filter is None and (exclude is None or not len(exclude)):
            return None
        allowed_N = np.ones(self.num_items, dtype=bool) if filter is None else self._columns.mask(filter).copy()
        if exclude is not None and len(exclude):
            allowed_N[exclude[exclude > 0] - 1] = False
        return allowed_N

    def _search(self, index: faiss.Index, query_D: np.ndarray, k: int, allowed_N: np.ndarray | None) -> Hits:
        limit = min(k + SPARE, self.num_items)
        bits = None if allowed_N is None else np.packbits(allowed_N, bitorder="little")
        chosen = {} if bits is None else {"sel": faiss.IDSelectorBitmap(bits)}
        if index is self._fast:
            parameters = faiss.SearchParametersIVF(nprobe=NPROBE, **chosen)
        else:
            parameters = faiss.SearchParameters(**chosen)
        scores_1K, entries_1K = index.search(query_D[None].astype(np.float32), limit, params=parameters)
        found = entries_1K[0] >= 0
        return Hits.sorted(entries_1K[0][found] + 1, scores_1K[0][found], k)

    async def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See ItemIndex."""
        return np.stack([self._exact.reconstruct(int(row) - 1) for row in rows])

    async def close(self) -> None:
        pass


def _inverted_file(vectors_ND: np.ndarray) -> faiss.IndexIVFFlat:
    """About sqrt(N) lists, each a k-means cell."""
    num_lists = 2 ** int(np.log2(max(len(vectors_ND), 4) ** 0.5))
    dim = vectors_ND.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors_ND)
    index.add(vectors_ND)
    return index
