"""When the items of a history were taken: a release does not say it, the dataset that it was made of does."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.json_text import mapping
from data.sources.schema import SPLITS


class HistoryTimes:
    """Reads times from a prepared dataset. Nothing is known where it is gone, is another, or its log has no clock.

    Args:
        folder: of the dataset.
        fingerprint: of the dataset by which the release was made.
    """

    def __init__(self, folder: Folder, fingerprint: str) -> None:
        self._folder = folder
        try:
            manifest = mapping(self._folder.read_json(MANIFEST))
        except (OSError, ValueError, TypeError):
            manifest = {}
        is_known = manifest.get("fingerprint") == fingerprint and (manifest.get("clock") or {}).get("has_clock")
        self._files = frozenset(manifest["files"]) if is_known else frozenset()
        self._users_per_part = int(manifest["config"]["users_per_part"]) if is_known else 1

    def of_user(self, user_row: int, item_rows: np.ndarray) -> list[datetime]:
        """Returns when a user took each of these items, which are the whole history; empty where that is not known.

        A user's interactions are in one file of each split, by user, oldest first.
        """
        names = [f"interactions/split={split}/part-{user_row // self._users_per_part:05}.parquet" for split in SPLITS]
        try:
            tables = [self._read(name, user_row) for name in names if name in self._files]
        except (OSError, pa.ArrowException):
            return []
        if not tables:
            return []
        found = pa.concat_tables(tables).slice(0, len(item_rows))
        if not np.array_equal(found["item_row"].to_numpy(), item_rows):
            return []
        return [datetime.fromtimestamp(at, UTC) for at in found["time"].to_pylist()]

    def _read(self, name: str, user_row: int) -> pa.Table:
        return pq.read_table(
            f"{self._folder.path}/{name}",
            filesystem=self._folder.filesystem,
            columns=["item_row", "time"],
            filters=[("user_row", "=", user_row)],
            partitioning=None,
        )
