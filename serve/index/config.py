"""The item index: nearest items to a vector, whichever way they are kept.

Shape legend: D dimension, K hits.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from data.artifacts.errors import ConfigError


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
            raise ConfigError(f"index.uri: {self.uri!r} must be http(s)://host:port or a path that ends in .db")
        if self.ca_file is not None and not (self.uri.startswith("https://") and Path(self.ca_file).is_file()):
            raise ConfigError(
                f"index.ca_file: {self.ca_file} must be a file, and index.uri ({self.uri}) an https:// address"
            )
        if self.uri.endswith(".db") and self.algorithm is not Algorithm.flat:
            raise ConfigError(
                f"index.algorithm: {self.algorithm.name} in Milvus Lite is no faster than flat, and finds too few items"
                " under a filter; use index.algorithm=flat, or a server as index.uri"
            )
        if not self.timeout_s > 0:
            raise ConfigError(f"index.timeout_s: {self.timeout_s} must be above 0")
        if not 0 <= self.monitored_share <= 1:
            raise ConfigError(f"index.monitored_share: {self.monitored_share} must lie in 0..1")
        if not 1 <= self.upsert_batch <= 65_536:
            raise ConfigError(f"index.upsert_batch: {self.upsert_batch} must lie in 1..65536")
        if not self.embed_gpus >= 0:
            raise ConfigError(f"index.embed_gpus: {self.embed_gpus} must be at least 0")
