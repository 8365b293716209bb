"""The item renderer: rows of a release's catalogue as JSON with external id, title and features."""

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa

from data.dataset.catalogue import Catalogue

MAX_CACHED_ITEMS = 50_000
"""Items whose JSON is kept; beyond, those that were rendered first are dropped."""


class ItemRenderer:
    """Renders the items of one release. The JSON of recently rendered items is cached."""

    def __init__(self, items: Catalogue) -> None:
        self._names = [f.name for f in items.features if f.kind.is_rendered]
        self._table = items.table.select(["title", *self._names])
        self._ids: pa.Array = items.ids.values
        self._cache: dict[int, bytes] = {}

    def render(self, rows: Sequence[int], extras: Sequence[dict[str, object]]) -> list[orjson.Fragment]:
        """Returns one JSON object per row: id, title, features, and then the fields of its entry of `extras`."""
        missing = [row for row in rows if row not in self._cache]
        if missing:
            self._fill_cache(missing)
        rendered = [
            orjson.Fragment(self._cache[row] + b"," + orjson.dumps(extra)[1:])
            for row, extra in zip(rows, extras, strict=True)
        ]
        while len(self._cache) > MAX_CACHED_ITEMS:
            del self._cache[next(iter(self._cache))]
        return rendered

    def _fill_cache(self, rows: list[int]) -> None:
        """Renders items into the cache, each without its closing brace so that fields can be appended."""
        entries = np.array(rows, dtype=np.int64) - 1
        ids = self._ids.take(pa.array(entries)).to_pylist()
        for row, id_, values in zip(rows, ids, self._table.take(entries).to_pylist(), strict=True):
            features = {name: values[name] for name in self._names}
            self._cache[row] = orjson.dumps({"id": id_, "title": values["title"], "features": features})[:-1]
