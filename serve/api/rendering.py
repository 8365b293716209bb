"""Items as people and services read them, as ready JSON."""

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa

from data.dataset.catalogue import Catalogue
from data.sources.schema import FeatureKind

KEPT = 50_000
"""Items whose JSON is kept: those shown most recently, near enough."""


class ShownItems:
    """Rows of one release's catalogue -> JSON objects with id, title, features and what comes with each."""

    def __init__(self, items: Catalogue) -> None:
        self._names = [f.name for f in items.features if f.kind is not FeatureKind.text]
        self._table = items.table.select(["title", *self._names])
        self._ids: pa.Array = items.ids.values
        self._kept: dict[int, bytes] = {}

    def json(self, rows: Sequence[int], extras: Sequence[dict[str, object]]) -> list[orjson.Fragment]:
        """One JSON object per row; the fields of `extras` follow the item's own."""
        missing = [row for row in rows if row not in self._kept]
        if missing:
            self._render(missing)
        found = [
            orjson.Fragment(self._kept[row] + b"," + orjson.dumps(extra)[1:])
            for row, extra in zip(rows, extras, strict=True)
        ]
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return found

    def _render(self, rows: list[int]) -> None:
        """Keeps each item's JSON, without its closing brace."""
        entries = np.array(rows, dtype=np.int64) - 1
        ids = self._ids.take(pa.array(entries)).to_pylist()
        for row, id_, values in zip(rows, ids, self._table.take(entries).to_pylist(), strict=True):
            features = {name: values[name] for name in self._names}
            self._kept[row] = orjson.dumps({"id": id_, "title": values["title"], "features": features})[:-1]
