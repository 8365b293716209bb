"""A viewer with two small releases of other catalogues, whose towers answer fixed lists."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue
from data.sequences.histories import Sequences
from serve.viewer.config import PageConfig
from serve.viewer.reading.released import ReleasedCatalogue
from serve.viewer.viewer import Viewer

LISTS = {"left": ["a"], "right": ["a", "new0"]}


class TwoReleases(Viewer):
    """The left release, which is live, knows four items; the right one knows twenty. Both know the same users."""

    @property
    def registry(self) -> Any:
        """The ids of both."""
        return SimpleNamespace(ids=lambda: ["right", "left"], resolve=lambda id_: id_ or "left")


def two_releases(folder: Path, endpoint: Any = None, kind: type[TwoReleases] = TwoReleases) -> TwoReleases:
    """Writes the tables of both into a folder."""
    made = kind(PageConfig(), endpoint, Folder.of(str(folder)), 100, "")
    new = [f"new{n}" for n in range(19)]
    known = {
        "left": catalogue(folder / "left", ["a", "b", "c", "d"], [8, 1, 1, 1]),
        "right": catalogue(folder / "right", ["a", *new], [2, 6, *[0] * 18]),
    }
    opened = {
        id_: SimpleNamespace(lists=lambda users, order, k, of=of: [of[:k]] * len(users)) for id_, of in LISTS.items()
    }
    object.__setattr__(made, "catalogues", known.__getitem__)
    object.__setattr__(made, "opened", opened.__getitem__)
    return made


def catalogue(folder: Path, item_ids: list[str], counts: list[int]) -> ReleasedCatalogue:
    """The tables of a release; its users have taken the first item."""
    users = ["u", "v"]
    for name, column, ids, of in (("items", "item_id", item_ids, counts), ("users", "user_id", users, [1, 1])):
        table = pa.table({column: ids, "title": ids, "train_count": of})
        Catalogue(column, table, (), {}).save(Folder.of(str(folder)), name)
    dataset = {"folder": str(folder), "fingerprint": ""}
    made = ReleasedCatalogue(Folder.of(str(folder)), {"item_features": [], "user_features": [], "dataset": dataset})
    made.__dict__["histories"] = Sequences(np.array([0, 0, 1, 2]), np.array([1, 1], dtype=np.int32))
    return made
