"""The configuration of the item index: where item vectors are stored and how they are searched."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from data.artifacts.errors import ConfigError
from serve.index.backends import INDEX_BACKENDS


class Algorithm(Enum):
    """The vector index of a Milvus collection, by Milvus's own names. `flat` is exact, the others are approximate."""

    flat = "FLAT"
    hnsw = "HNSW"
    ivf_flat = "IVF_FLAT"


@dataclass(kw_only=True, slots=True)
class IndexConfig:
    """Where item vectors are stored and how they are searched.

    Attributes:
        kind: The index back end: `replica` keeps a FAISS copy of the release's collection in each serving replica,
            `milvus` searches on Milvus for every request, for catalogues beyond a replica's memory. Further back ends
            register themselves, see serve/index/backends.
        uri: A Milvus server (http://host:19530), or a path that ends in .db for Milvus Lite. The token, if the server
            asks for one, comes from MILVUS_TOKEN in the environment.
        ca_file: With https: the certificates to trust, as PEM; null trusts the certificate authorities that gRPC comes
            with.
        timeout_s: Seconds that each call to Milvus may take.
        algorithm: The vector index of the collections that `serve.publish` makes.
        exact_up_to: With `replica`: catalogues of more items than this are searched by an inverted file (IVF), which is
            approximate, instead of exactly.
        folder: With `replica`: where the replicas of a node share the files of an inverted file; null means a folder in
            the system's temporary folder.
        monitored_share: Share of the searches by an approximate index that are repeated exactly in the background, to
            measure recall.
        upsert_batch: Items in one upsert, and in one call of the item tower, at publish.
        embed_gpus: GPUs reserved by each of the tasks that compute item vectors at publish; 0 computes on CPUs.
    """

    kind: str = "replica"
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
        """Raises ConfigError for a value that is refused, or values that do not go together."""
        INDEX_BACKENDS[self.kind]
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
