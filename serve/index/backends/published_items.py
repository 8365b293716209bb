"""What an index back end is given: the items of one release, as they were published."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from serve.filters.masks import FilterColumns
from towers.model.tie_order import TieOrder


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedItems:
    """The items of one release, as `serve.publish` left them.

    Attributes:
        release_id: The release.
        collection: The physical name of its Milvus collection.
        num_items: Number of items; they have the rows 1..num_items.
        dim: Length of an item vector.
        ties: The order of items with equal scores; None is the order of rows.
        columns: Returns the items' features prepared for filters. It takes seconds for a million items and blocks.
        collection_now: Returns the name of the collection that the release has now, which is another one where it was
            lost and published again; None where that cannot be told. It blocks.
        vectors: Returns the item vectors as the release's own files have them, float32 [num_items, D], mapped where
            they lie on a disk; None where the release has no such file, and Milvus alone has them. It blocks.
    """

    release_id: str
    collection: str
    num_items: int
    dim: int
    columns: Callable[[], FilterColumns]
    ties: TieOrder | None = None
    collection_now: Callable[[], str] | None = None
    vectors: Callable[[], np.ndarray | None] = lambda: None
