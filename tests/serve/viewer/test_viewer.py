"""What views ask of the releases."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue
from data.sequences.histories import Sequences
from serve.viewer.config import PageConfig
from serve.viewer.reading.released import ReleasedCatalogue
from serve.viewer.viewer import Viewer


def catalogue(folder: Path, item_ids: list[str], counts: list[int]) -> ReleasedCatalogue:
    """A release's tables, with one user."""
    for name, column, ids, of in (("items", "item_id", item_ids, counts), ("users", "user_id", ["u"], [2])):
        table = pa.table({column: ids, "title": ids, "train_count": of})
        Catalogue(column, table, (), {}).save(Folder.of(str(folder)), name)
    made = ReleasedCatalogue(Folder.of(str(folder)), {"item_features": [], "user_features": []})
    made.__dict__["histories"] = Sequences(np.array([0, 0, 1]), np.array([1], dtype=np.int32))
    return made


@pytest.fixture
def viewer(tmp_path: Path) -> Viewer:
    """Two releases with other catalogues: the left one knows four items, the right one knows twenty."""
    endpoint: Any = None
    made = Viewer(PageConfig(), endpoint, Folder.of(str(tmp_path)), 100, "")
    new = [f"new{n}" for n in range(19)]
    known = {
        "left": catalogue(tmp_path / "left", ["a", "b", "c", "d"], [8, 1, 1, 1]),
        "right": catalogue(tmp_path / "right", ["a", *new], [2, 6, *[0] * 18]),
    }
    lists = {"left": [["a"]], "right": [["a", "new0"]]}
    opened = {id_: SimpleNamespace(lists=lambda users, order, k, of=of: of) for id_, of in lists.items()}
    object.__setattr__(made, "catalogues", known.__getitem__)
    object.__setattr__(made, "opened", opened.__getitem__)
    return made


async def test_each_side_of_a_comparison_is_measured_by_its_own_catalogue(viewer: Viewer) -> None:
    found = await viewer.compare(("left:full", "right:full"), 10)
    assert (found.one.coverage, found.one.popularity) == (0.25, 8.0)
    assert (found.other.coverage, found.other.popularity) == (0.1, 4.0)
