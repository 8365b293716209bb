"""`index.kind=replica`: a FAISS copy of the collection in each serving process.

Shape legend: N items (rows 1..N at entries 0..N-1), D dimension, B queries, K hits, L hits asked for.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from serve.filters.grammar import Filter
from serve.filters.masks import FilterColumns, Passing
from serve.index.collection import read_vectors
from serve.index.config import IndexConfig
from serve.index.faiss_files import HITS, FaissIndexes, shared
from serve.index.protocol import Hits, check_query
from serve.pipeline.micro_batcher import Batcher

MOST_PROBES = 4
"""A search looks into as many more lists as its filter passes fewer items, or as it asks for more than twice the hits
that the number of lists was found for; but at most into so many times more."""

FEW = 20_000
"""Up to this many items that pass a filter are compared one by one: quicker than to look for them in an index."""

SPARE = 16
"""Hits beyond k asked of FAISS, so that ties at the boundary are settled by row and not by chance."""

ROUNDED = 1.25
"""Times as many are asked of the inverted file, whose scores are rounded: the true ones are computed of these."""

NOTHING = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One search: float32 [D], how many, among which, without which entries (ascending, each once)."""

    query_D: np.ndarray
    k: int
    filter: Filter | None
    exclude: np.ndarray

    @classmethod
    def of(cls, query_D: np.ndarray, k: int, filter: Filter | None, exclude: np.ndarray | None) -> "Wanted":
        entries = NOTHING if exclude is None else np.unique(exclude[exclude > 0]) - 1
        return cls(query_D.astype(np.float32), k, filter, entries)


class ReplicaIndex:
    """Exact inner product up to `exact_up_to` items, an inverted file above; complete under any filter.

    Searches that wait at the same time are one call of FAISS, for each filter among them. Excluded items are met by
    asking for as many more. FAISS uses one thread, so that replicas do not fight over cores.
    """

    def __init__(self, release_id: str, indexes: FaissIndexes, columns: FilterColumns) -> None:
        self.release_id = release_id
        self._indexes = indexes
        self._exact, self._fast, self._vectors_ND = indexes.exact, indexes.fast, indexes.vectors_ND
        self.num_items, self.dim = self._vectors_ND.shape
        self._columns = columns
        self.approximate = self._fast is not None
        self._batched = Batcher(self.search_all)
        faiss.omp_set_num_threads(1)

    @classmethod
    async def hydrate(
        cls, config: IndexConfig, collection: str, release_id: str, columns: FilterColumns, dim: int
    ) -> "ReplicaIndex":
        """Reads the release's collection from Milvus, in a thread; large ones once per node.

        Raises:
            IndexUnavailable: Milvus does not answer, or its collection is not whole.
        """

        def read() -> FaissIndexes:
            return FaissIndexes.of(read_vectors(config, collection, columns.num_items, dim), config.exact_up_to)

        def build() -> ReplicaIndex:
            large = columns.num_items > config.exact_up_to
            return cls(release_id, shared(collection, read, config.folder) if large else read(), columns)

        return await asyncio.to_thread(build)

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex."""
        check_query(query_D, self.dim)
        return await self._batched(Wanted.of(query_D, k, filter, exclude))

    async def exactly(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex."""
        return await asyncio.to_thread(self.exactly_one, Wanted.of(query_D, k, filter, exclude))

    def exactly_one(self, wanted: Wanted) -> Hits:
        """The hits of exact search."""
        passing = None if wanted.filter is None else self._columns.passing(wanted.filter)
        limit = min(wanted.k + len(wanted.exclude) + SPARE, self.num_items)
        (hits,) = self._exactly(wanted.query_D[None], limit, passing, [wanted])
        return hits

    def passing(self, filter: Filter | None) -> float | None:
        """See ItemIndex."""
        return 1.0 if filter is None else len(self._columns.passing(filter).entries) / self.num_items

    def search_all(self, wanted: Sequence[Wanted]) -> list[Hits]:
        """The hits of each search."""
        answers: dict[int, Hits] = {}
        for filter in {search.filter for search in wanted}:
            places = [at for at, search in enumerate(wanted) if search.filter == filter]
            passing = None if filter is None else self._columns.passing(filter)
            answers |= zip(places, self._among(passing, [wanted[at] for at in places]), strict=True)
        return [answers[at] for at in range(len(wanted))]

    def _among(self, passing: Passing | None, wanted: Sequence[Wanted]) -> list[Hits]:
        """The hits of searches that look among the same items."""
        queries_BD = np.stack([search.query_D for search in wanted])
        if passing is not None and len(passing.entries) <= FEW:
            scores_BL = queries_BD @ self._vectors_ND[passing.entries].T
            return [self._best(passing.entries, *found) for found in zip(scores_BL, wanted, strict=True)]
        limit = min(max(search.k + len(search.exclude) for search in wanted) + SPARE, self.num_items)
        if self._fast is None:
            return self._exactly(queries_BD, limit, passing, wanted)
        share = 1.0 if passing is None else len(passing.entries) / self.num_items
        times = max(1, round(1 / share), round(limit / (2 * HITS)))
        probes = self._fast.nprobe * min(times, MOST_PROBES)
        parameters = faiss.SearchParametersIVF(nprobe=min(probes, self._fast.nlist), **_selector(passing))
        _, entries_BL = self._fast.search(queries_BD, round(ROUNDED * limit), params=parameters)
        scores_BL = np.einsum("bld,bd->bl", self._vectors_ND[entries_BL], queries_BD)
        hits = [self._best(*found) for found in zip(entries_BL, scores_BL, wanted, strict=True)]
        short = [at for at, (search, found) in enumerate(zip(wanted, hits, strict=True)) if len(found.rows) < search.k]
        for at in short:  # too few were looked at, or there are no more
            (hits[at],) = self._exactly(queries_BD[at : at + 1], limit, passing, wanted[at : at + 1])
        return hits

    def _exactly(
        self, queries_BD: np.ndarray, limit: int, passing: Passing | None, wanted: Sequence[Wanted]
    ) -> list[Hits]:
        parameters = faiss.SearchParameters(**_selector(passing))
        found = zip(*self._exact.search(queries_BD, limit, params=parameters), wanted, strict=True)
        return [self._best(entries_L, scores_L, search) for scores_L, entries_L, search in found]

    def _best(self, entries_L: np.ndarray, scores_L: np.ndarray, search: Wanted) -> Hits:
        """The best k of what was found (entry -1: nothing), without what is excluded."""
        kept = entries_L >= 0
        if len(search.exclude):
            place_L = np.searchsorted(search.exclude, entries_L).clip(max=len(search.exclude) - 1)
            kept &= search.exclude[place_L] != entries_L
        return Hits.sorted(entries_L[kept] + 1, scores_L[kept], search.k)

    async def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See ItemIndex."""
        return self._vectors_ND[rows - 1]

    async def close(self) -> None:
        pass


def _selector(passing: Passing | None) -> dict[str, faiss.IDSelector]:
    return {} if passing is None else {"sel": faiss.IDSelectorBitmap(passing.bits)}
