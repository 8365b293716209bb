"""Catalogues as they are read from their files."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue

MANY = 300_000
"""Rows of which Parquet's reader makes several chunks."""


def test_a_large_table_is_in_one_piece(tmp_path: Path) -> None:
    """To take some rows of several chunks, Arrow looks at all rows: 6 ms of a million, in the middle of a request."""
    folder = Folder.of(str(tmp_path))
    ids = pa.array(np.arange(MANY)).cast(pa.string())
    folder.write_table("items.parquet", pa.table({"item_id": ids, "title": ids}))
    assert folder.read_table("items.parquet")["title"].num_chunks > 1
    table = Catalogue.load(folder, "items", "item_id", []).table
    assert {column.num_chunks for column in table.columns} == {1}
