"""The registry of index back ends, by the name that `index.kind` gives them in yaml.

A back end is a function that opens the items of one release for searching. It registers itself in a file of this
folder, or in any other module that is imported before the index is opened:

    @INDEX_BACKENDS.register("replica")
    async def open_replica(config: IndexConfig, items: PublishedItems) -> ItemIndex: ...

What it returns must pass `tests/conformance/test_item_index.py`. Import the libraries that it needs inside the
function: every command reads this folder to check `index.kind`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from data.artifacts.registry import Registry
from serve.filters.masks import FilterColumns
from serve.index.config import IndexConfig
from serve.index.protocol import ItemIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedItems:
    """The items of one release, as `serve.publish` left them.

    Attributes:
        release_id: The release.
        collection: The physical name of its Milvus collection.
        num_items: Number of items; they have the rows 1..num_items.
        dim: Length of an item vector.
        columns: Returns the items' features prepared for filters. It takes seconds for a million items and blocks.
    """

    release_id: str
    collection: str
    num_items: int
    dim: int
    columns: Callable[[], FilterColumns]


OpenIndex: TypeAlias = Callable[[IndexConfig, PublishedItems], Awaitable[ItemIndex]]

INDEX_BACKENDS: Registry[OpenIndex] = Registry("index.kind", __package__)
