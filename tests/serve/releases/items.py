"""Items for the tests of serve.refresh."""

import pyarrow as pa

from serve.releases.release import Release

NEW = {"item_id": "new1", "title": "Fresh", "genres": ["Drama", "Western"], "studio": "Nobody Before", "year": 2026.0}
NEW |= {"words": "Fresh", "length": "short"}


def rows(live: Release, *items: dict[str, object]) -> pa.Table:
    """Items as `read_rows` gives them."""
    fields = live.parts.items.table.schema
    names = ["item_id", "title", *(feature.name for feature in live.parts.items.features)]
    return pa.Table.from_pylist(list(items), schema=pa.schema([fields.field(name) for name in names]))
