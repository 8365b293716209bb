"""The replica index: a FAISS copy of the release's item vectors in each serving process.

Shape legend: N items (rows 1..N are the FAISS entries 0..N-1), D dimension, B queries, L hits asked of FAISS.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data.sequences.membership import distinct, is_among
from serve.filters.grammar import Filter
from serve.filters.mask_cache import MAX_LISTED, MatchingItems
from serve.filters.masks import FilterColumns
from serve.index.collection import read_vectors
from serve.index.config import IndexConfig
from serve.index.faiss_files import CALIBRATED_HITS, FaissIndexes, open_shared
from serve.index.faiss_library import faiss, on_one_thread
from serve.index.micro_batcher import MicroBatcher
from serve.index.protocol import MAX_TIED, TIE_MARGIN, Hits, check_query
from towers.model.tie_order import TieOrder

MAX_PROBE_FACTOR = 4
"""A search of the inverted file looks into at most this many times the calibrated number of lists. It looks into more
than that number if few items pass its filter, or if it asks for more than twice CALIBRATED_HITS."""

MAX_COMPARED = MAX_LISTED
"""If at most this many items pass a filter, all of them are compared, which is faster than a search of the index."""

ROUNDING_FACTOR = 1.25
"""The inverted file has rounded scores, so this many times the hits are asked of it and then scored exactly."""

NO_ENTRIES = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The arguments of one search.

    Attributes:
        query_D: float32 [D].
        k: Hits to find.
        filter: A condition that all hits meet; None accepts every item.
        exclude: int64; entries that must not be among the hits, ascending and distinct.
    """

    query_D: np.ndarray
    k: int
    filter: Filter | None
    exclude: np.ndarray

    @classmethod
    def of(cls, query_D: np.ndarray, k: int, filter: Filter | None, exclude: np.ndarray | None) -> "SearchRequest":
        """Makes a request of the arguments of `ItemIndex.search`, which excludes rows."""
        entries = NO_ENTRIES if exclude is None else distinct(exclude[exclude > 0]) - 1
        return cls(query_D.astype(np.float32), k, filter, entries)


@dataclass(frozen=True, slots=True)
class Found:
    """What one search of FAISS found for one request.

    Attributes:
        hits: The best k.
        tie_goes_on: Whether everything that was found behind the k-th hit scores like it: there may be more such items.
    """

    hits: Hits
    tie_goes_on: bool


Search = Callable[[np.ndarray, int, MatchingItems | None, Sequence[SearchRequest]], list[Found]]
"""Takes queries [B, D], the number of hits to ask of FAISS, the items that pass the filter, and the requests [B]."""


class ReplicaIndex:
    """Searches exactly up to `index.exact_up_to` items, by an inverted file above; complete under any filter.

    Searches that wait at the same time are one call of FAISS for each distinct filter among them. FAISS searches on the
    thread that calls it alone, so that replicas do not compete for cores.
    """

    def __init__(
        self, release_id: str, indexes: FaissIndexes, columns: FilterColumns, ties: TieOrder | None = None
    ) -> None:
        self.release_id = release_id
        self._indexes = indexes
        self._exact, self._inverted, self._vectors_ND = indexes.exact, indexes.inverted, indexes.vectors_ND
        self.num_items, self.dim = self._vectors_ND.shape
        self._columns = columns
        self._ties = ties
        self.approximate = self._inverted is not None
        self._batched = MicroBatcher(self.search_all)

    @classmethod
    async def hydrate(
        cls,
        config: IndexConfig,
        collection: str,
        release_id: str,
        columns: FilterColumns,
        dim: int,
        ties: TieOrder | None = None,
        vectors_ND: np.ndarray | None = None,
    ) -> "ReplicaIndex":
        """Builds the index in a thread; the replicas of a node share a large one.

        Args:
            vectors_ND: float32, the release's own; None reads its collection from Milvus.

        Raises:
            IndexUnavailable: Milvus is read and does not answer, or its collection is not complete.
        """

        def read() -> FaissIndexes:
            own_ND = read_vectors(config, collection, columns.num_items, dim) if vectors_ND is None else vectors_ND
            return FaissIndexes.of(own_ND, config.exact_up_to)

        def build() -> ReplicaIndex:
            is_large = columns.num_items > config.exact_up_to
            indexes = open_shared(collection, read, config.folder) if is_large else read()
            return cls(release_id, indexes, columns, ties)

        return await asyncio.to_thread(build)

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex."""
        check_query(query_D, self.dim)
        if filter is not None:
            await self._columns.prepare(filter)
        return await self._batched(SearchRequest.of(query_D, k, filter, exclude))

    async def search_exact(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """See ItemIndex."""
        return await asyncio.to_thread(self.search_exact_one, SearchRequest.of(query_D, k, filter, exclude))

    def search_exact_one(self, request: SearchRequest) -> Hits:
        """Returns the hits of an exact search; blocks."""
        matching = None if request.filter is None else self._columns.matching(request.filter)
        limit = min(request.k + len(request.exclude) + TIE_MARGIN, self.num_items)
        (hits,) = self._search(self._search_flat, request.query_D[None], limit, matching, [request])
        return hits

    def selectivity(self, filter: Filter | None) -> float | None:
        """See ItemIndex."""
        return 1.0 if filter is None else self._columns.matching(filter).count / self.num_items

    def is_prepared(self, filter: Filter) -> bool:
        """See ItemIndex."""
        return self._columns.holds(filter)

    def search_all(self, requests: Sequence[SearchRequest]) -> list[Hits]:
        """Returns the hits of each request, in the same order; blocks."""
        hits: dict[int, Hits] = {}
        for filter in {request.filter for request in requests}:
            places = [place for place, request in enumerate(requests) if request.filter == filter]
            matching = None if filter is None else self._columns.matching(filter)
            hits |= zip(places, self._search_among(matching, [requests[place] for place in places]), strict=True)
        return [hits[place] for place in range(len(requests))]

    def _search_among(self, matching: MatchingItems | None, requests: Sequence[SearchRequest]) -> list[Hits]:
        """Returns the hits of requests that have the same filter."""
        queries_BD = np.stack([request.query_D for request in requests])
        if matching is not None and matching.count <= MAX_COMPARED:
            scores_BL = queries_BD @ self._vectors_ND[matching.entries].T
            return [self._best(matching.entries, *pair).hits for pair in zip(scores_BL, requests, strict=True)]
        limit = min(max(request.k + len(request.exclude) for request in requests) + TIE_MARGIN, self.num_items)
        if self._inverted is None:
            return self._search(self._search_flat, queries_BD, limit, matching, requests)
        hits = self._search(self._search_inverted, queries_BD, limit, matching, requests)
        for place, request in enumerate(requests):
            if len(hits[place].rows) < request.k:  # its lists held too few eligible items, or there are no more
                one = slice(place, place + 1)
                (hits[place],) = self._search(self._search_flat, queries_BD[one], limit, matching, requests[one])
        return hits

    def _search(
        self,
        search: Search,
        queries_BD: np.ndarray,
        limit: int,
        matching: MatchingItems | None,
        requests: Sequence[SearchRequest],
    ) -> list[Hits]:
        """Returns the hits of each request; one whose last hit ties with all hits behind it is searched once more."""
        found, more = search(queries_BD, limit, matching, requests), min(limit + MAX_TIED, self.num_items)
        for place, one in enumerate(found):
            if one.tie_goes_on and more > limit:
                at = slice(place, place + 1)
                (found[place],) = search(queries_BD[at], more, matching, requests[at])
        return [one.hits for one in found]

    def _search_inverted(
        self, queries_BD: np.ndarray, limit: int, matching: MatchingItems | None, requests: Sequence[SearchRequest]
    ) -> list[Found]:
        assert self._inverted is not None, "a small catalogue has no inverted file"
        share = 1.0 if matching is None else matching.count / self.num_items
        factor = max(1, round(1 / share), round(limit / (2 * CALIBRATED_HITS)))
        num_probes = min(self._inverted.nprobe * min(factor, MAX_PROBE_FACTOR), self._inverted.nlist)
        parameters = faiss.SearchParametersIVF(nprobe=num_probes, **_selector(matching))
        with on_one_thread():
            _, entries_BL = self._inverted.search(queries_BD, round(ROUNDING_FACTOR * limit), params=parameters)
        scores_BL = np.einsum("bld,bd->bl", self._vectors_ND[entries_BL], queries_BD)
        return [self._best(*found) for found in zip(entries_BL, scores_BL, requests, strict=True)]

    def _search_flat(
        self, queries_BD: np.ndarray, limit: int, matching: MatchingItems | None, requests: Sequence[SearchRequest]
    ) -> list[Found]:
        parameters = faiss.SearchParameters(**_selector(matching))
        with on_one_thread():
            scores_BL, entries_BL = self._exact.search(queries_BD, limit, params=parameters)
        found = zip(scores_BL, entries_BL, requests, strict=True)
        return [self._best(entries_L, scores_L, request) for scores_L, entries_L, request in found]

    def _best(self, entries_L: np.ndarray, scores_L: np.ndarray, request: SearchRequest) -> Found:
        """Returns the best k of the entries found that are not excluded; FAISS returns entry -1 for no hit."""
        eligible_L = entries_L >= 0
        lowest = -np.inf if len(eligible_L) and not eligible_L[-1] else scores_L.min(initial=np.inf)
        if len(request.exclude):
            eligible_L &= ~is_among(entries_L, request.exclude)
        hits = Hits.sorted(entries_L[eligible_L] + 1, scores_L[eligible_L], request.k, self._ties)
        return Found(hits, tie_goes_on=len(hits.rows) == request.k > 0 and bool(lowest >= hits.scores[-1]))

    async def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See ItemIndex."""
        return self._vectors_ND[rows - 1]

    async def close(self) -> None:
        """See ItemIndex; the memory is freed with this object."""


def _selector(matching: MatchingItems | None) -> dict[str, faiss.IDSelector]:
    return {} if matching is None else {"sel": faiss.IDSelectorBitmap(matching.bits)}
