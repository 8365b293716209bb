"""The item index: nearest items to a vector, whichever way they are kept.

Shape legend: D dimension, K hits.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import numpy as np

from serve.filters import Filter


class IndexKind(Enum):
    replica = "replica"  # a FAISS copy in each serving replica, hydrated from the release's collection
    milvus = "milvus"  # a search on Milvus per request


class Algorithm(Enum):
    """The collection's vector index. `flat` is exact."""

    flat = "FLAT"
    hnsw = "HNSW"
    ivf_flat = "IVF_FLAT"


@dataclass(kw_only=True, slots=True)
class IndexConfig:
    """Where item vectors are kept and how they are searched.

    Attributes:
        uri: a Milvus server (http://host:19530), or a path ending in .db for Milvus Lite. The token, where the server
            wants one, comes from MILVUS_TOKEN in the environment.
        ca_file: for https: whom to trust, as PEM; null trusts the certificate authorities that gRPC comes with.
        timeout_s: of every call to Milvus.
        algorithm: of the collections that publish makes.
        exact_up_to: replica: above this many items an inverted file (IVF) takes the place of exact search.
        folder: replica: where the replicas of a node share the files of such an index; null takes the system's
            temporary folder.
        monitored_share: of the searches by an approximate index, repeated exactly in the background to measure recall.
        upsert_batch: items per upsert, and per call of the item tower, at publish.
        embed_gpus: GPUs that each of the tasks reserves by which publish computes item vectors; 0 takes CPUs.
    """

    kind: IndexKind = IndexKind.replica
    uri: str = "./var/milvus.db"
    ca_file: str | None = None
    timeout_s: float = 10.0
    algorithm: Algorithm = Algorithm.flat
    exact_up_to: int = 50_000
    folder: str | None = None
    monitored_share: float = 0.001
    upsert_batch: int = 4096
    embed_gpus: float = 0.0

    def __post_init__(self) -> None:
        if not (self.uri.endswith(".db") or self.uri.startswith(("http://", "https://"))):
            raise ValueError(f"index.uri: {self.uri!r} must be http(s)://host:port or a path that ends in .db")
        if self.ca_file is not None and not (self.uri.startswith("https://") and Path(self.ca_file).is_file()):
            raise ValueError(
                f"index.ca_file: {self.ca_file} must be a file, and index.uri ({self.uri}) an https:// address"
            )
        if self.uri.endswith(".db") and self.algorithm is not Algorithm.flat:
            raise ValueError(
                f"index.algorithm: {self.algorithm.name} in Milvus Lite is no faster than flat, and finds too few items"
                " under a filter; use index.algorithm=flat, or a server as index.uri"
            )
        if not self.timeout_s > 0:
            raise ValueError(f"index.timeout_s: {self.timeout_s} must be above 0")
        if not 0 <= self.monitored_share <= 1:
            raise ValueError(f"index.monitored_share: {self.monitored_share} must lie in 0..1")
        if not 1 <= self.upsert_batch <= 65_536:
            raise ValueError(f"index.upsert_batch: {self.upsert_batch} must lie in 1..65536")
        if not self.embed_gpus >= 0:
            raise ValueError(f"index.embed_gpus: {self.embed_gpus} must be at least 0")


class IndexUnavailable(ConnectionError):
    """Milvus does not answer, or not with what was asked for. The message names the address and the cure."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Found items, best first, ties by lower row: rows int64 [K], scores float32 [K]."""

    rows: np.ndarray
    scores: np.ndarray

    @classmethod
    def sorted(cls, rows: np.ndarray, scores: np.ndarray, k: int) -> "Hits":
        """The best k of some hits in any order."""
        best = np.lexsort((rows, -scores))[:k]
        return cls(rows[best].astype(np.int64), scores[best].astype(np.float32))


def recall(found: Hits, exact: Hits) -> float:
    """The share of the exact hits that was found; what ties with the last of them counts."""
    return float((found.scores >= exact.scores[-1] - 1e-5).sum() / len(exact.rows))


class ItemIndex(Protocol):
    """The items of one release by inner product. Every implementation passes tests/conformance.

    Attributes:
        approximate: a search may miss some of the nearest items.
    """

    release_id: str
    num_items: int
    dim: int
    approximate: bool

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """The k items of highest inner product that pass the filter and are not excluded.

        Args:
            query_D: float32 [D].
            exclude: int item rows.

        Returns:
            Fewer than k hits only where fewer items are eligible.

        Raises:
            ValueError: the query is not of the index's dimension.
            IndexUnavailable: the index cannot answer.
        """
        ...

    async def exactly(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """What `search` would find if it took all the time it needs; for measurements, off the event loop."""
        ...

    def passing(self, filter: Filter | None) -> float | None:
        """The share of the items that pass a filter, where that is known without a search."""
        ...

    async def vectors(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), D] of items that are in the index."""
        ...

    async def close(self) -> None: ...


def check_query(query_D: np.ndarray, dim: int) -> None:
    """Raises ValueError where a query vector cannot be compared with the items."""
    if query_D.shape != (dim,):
        raise ValueError(f"query vector: shape {query_D.shape}, the index holds vectors of dimension {dim}")
    if not np.isfinite(query_D).all():
        raise ValueError("query vector: holds NaN or infinite values")
