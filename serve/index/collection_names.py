"""The names of releases' Milvus collections, and what Milvus has of a name: a collection, and its vector index."""

import hashlib
import re
import uuid
from dataclasses import replace

from pymilvus import MilvusClient

from serve.index.config import Algorithm, IndexConfig

OWNER = "twotower_ray"
"""Prefix of the names of our collections, and their description. No other collection is ever listed or dropped."""

TAKEN = re.compile(r"[A-Za-z0-9_]{1,255}")
"""The names that a Milvus server takes. It refuses even to look for others."""

MAX_ID = 200
"""Most characters of a release's id that are taken over into the name of its collection."""


def collection_name(release_id: str) -> str:
    """Returns a name for a release's collection, a new one with each call, so that no earlier attempt is in the way.

    Of an id that a Milvus server would not take, such as one in another script, the name has a digest.

    (If the disk is full while Milvus Lite creates a collection, a folder is left that it neither lists nor overwrites.)
    """
    name = release_id.replace("-", "_")
    if not TAKEN.fullmatch(name) or len(name) > MAX_ID:
        name = hashlib.sha256(release_id.encode()).hexdigest()[:32]
    return f"{OWNER}_{name}_{uuid.uuid4().hex[:8]}"


def exists(client: MilvusClient, config: IndexConfig, name: str) -> bool:
    """Whether Milvus has a collection of this name; a server is not asked for one that it would not have taken."""
    if config.address.database is None and not TAKEN.fullmatch(name):
        return False
    return bool(client.has_collection(name, timeout=config.timeout_s))


def with_algorithm_of(client: MilvusClient, config: IndexConfig, name: str) -> IndexConfig:
    """The config with the vector index that a collection was made with, whatever `index.algorithm` is now.

    A hosted Milvus may choose an index of its own, and Milvus Lite has `flat` alone: then the config stays.
    """
    if config.address.database is not None:
        return config
    described = client.describe_index(name, "vector", timeout=config.timeout_s) or {}
    found = next((one for one in Algorithm if one.value == described.get("index_type")), config.algorithm)
    return replace(config, algorithm=found)
