"""The configuration of the item index: where item vectors are stored and how they are searched."""

import os
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from urllib.parse import quote

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.artifacts.secrets import secret
from serve.index.address import MilvusAddress
from serve.index.backends import INDEX_BACKENDS

TOKEN = "MILVUS_TOKEN"
"""Name of the secret with user and password of Milvus, or its API key."""


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
        uri: A Milvus server (http://host:19530, with a database http://host:19530/shop; of a hosted one
            https://host), or a path that ends in .db for Milvus Lite. The token, if the server asks for one, comes from
            MILVUS_TOKEN in the environment.
        ca_file: With https: the certificates to trust, as PEM; null trusts the certificate authorities that gRPC comes
            with.
        timeout_s: Seconds that each call to Milvus may take.
        algorithm: The vector index of the collections that `serve.publish` makes; one that is there is searched by the
            one that it has.
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
    timeout_s: float = bounded(10.0, above=0)
    algorithm: Algorithm = Algorithm.flat
    exact_up_to: int = bounded(50_000, at_least=0)
    folder: str | None = None
    monitored_share: float = bounded(0.001, at_least=0, at_most=1)
    upsert_batch: int = bounded(4096, at_least=1, at_most=65_536)
    embed_gpus: float = bounded(0.0, at_least=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused, or values that do not go together."""
        check_bounds(self, "index")
        INDEX_BACKENDS.require(self.kind)
        address = self.address
        if self.ca_file is not None and not (address.scheme == "https" and Path(self.ca_file).is_file()):
            raise ConfigError(
                f"index.ca_file: {self.ca_file} must be a file, and index.uri ({address}) an https:// address"
            )
        if address.database is not None and self.algorithm is not Algorithm.flat:
            raise ConfigError(
                f"index.algorithm: {self.algorithm.name} in Milvus Lite is no faster than flat, and finds too few items"
                " under a filter; use index.algorithm=flat, or a server as index.uri"
            )

    @property
    def address(self) -> MilvusAddress:
        """Where Milvus is; messages show this, and never `uri`, which may hold a password."""
        return MilvusAddress.of(self.uri)

    def with_token_in_environment(self) -> "IndexConfig":
        """Returns the same without user and password in the address, which MILVUS_TOKEN of this process then holds.

        Processes that this one starts inherit it. A token that the environment has already wins, as it does always.
        """
        address = self.address
        if not address.token:
            return self
        if not secret(TOKEN).strip():
            os.environ[TOKEN] = address.token
        return replace(self, uri=f"{address.uri}/{quote(address.db_name, safe='')}".rstrip("/"))
