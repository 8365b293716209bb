"""Names of collections are those that a Milvus server takes, whatever the release is called."""

import re
from typing import Any

from pymilvus.exceptions import MilvusException

from serve.index.collection_names import collection_name, exists, with_algorithm_of
from serve.index.config import Algorithm, IndexConfig


class Server:
    """A Milvus server without collections, which refuses to look for a name that it would not take, as 2.3.5 does."""

    def has_collection(self, name: str, timeout: float) -> bool:
        if not re.fullmatch("[A-Za-z0-9_]+", name):
            raise MilvusException(1100, f"Invalid collection name: {name}")
        return False


def test_an_id_in_another_script_becomes_a_digest() -> None:
    """A dataset may be called `größe` or `магазин`: its release was refused after training and gate."""
    assert re.fullmatch("twotower_ray_shop_eu_1a2b_[0-9a-f]{8}", collection_name("shop-eu-1a2b"))
    names = [collection_name(id_) for id_ in ("größe-1a2b", "магазин-1a2b", "店-1a2b", "a b", "x" * 240)]
    assert all(re.fullmatch("twotower_ray_[0-9a-f]{32}_[0-9a-f]{8}", name) for name in names)
    assert len({name[:-9] for name in names}) == len(names)


def test_what_a_server_would_not_have_taken_is_not_there() -> None:
    server: Any = Server()
    config = IndexConfig(uri="http://milvus:19530")
    assert not exists(server, config, "twotower_ray_größe_1a2b")
    assert not exists(server, config, "twotower_ray_shop_1a2b")


class Indexed:
    """A Milvus server whose collections have this vector index; None stands for one without."""

    def __init__(self, index_type: str | None) -> None:
        self._index_type = index_type

    def describe_index(self, name: str, index_name: str, timeout: float) -> dict[str, Any] | None:
        return None if self._index_type is None else {"index_type": self._index_type, "metric_type": "IP"}


def test_a_collection_is_searched_by_the_vector_index_that_it_has() -> None:
    """A config without index.algorithm=hnsw searched an HNSW collection without `ef`, and took it for an exact one."""

    def algorithm(index_type: str | None, now: Algorithm, uri: str = "http://milvus:19530") -> Algorithm:
        server: Any = Indexed(index_type)
        return with_algorithm_of(server, IndexConfig(uri=uri, algorithm=now), "twotower_ray_shop").algorithm

    assert algorithm("HNSW", Algorithm.flat) is Algorithm.hnsw
    assert algorithm("FLAT", Algorithm.ivf_flat) is Algorithm.flat
    assert algorithm("AUTOINDEX", Algorithm.hnsw) is algorithm(None, Algorithm.hnsw) is Algorithm.hnsw
    assert algorithm("HNSW", Algorithm.flat, "x.db") is Algorithm.flat
