"""All keys as a table: the mechanism behind `python -m serve.keys`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from serve.access.keys import KeyRecord


def as_json(record: KeyRecord) -> dict[str, Any]:
    """A record as JSON values, without the digest of the key."""
    return {name: value for name, value in record.as_json().items() if name != "sha256"}


def keys_table(records: Sequence[KeyRecord], now: datetime) -> Table:
    """The keys as a table, in the order in which they were made."""
    table = Table(title="keys")
    for name in ("name", "id", "scopes", "rate", "at once", "made", "expires"):
        table.add_column(name, no_wrap=name == "name")
    for record in records:
        expires = record.expires_at or "never"
        if record.expires() <= now.timestamp():
            expires += " (expired)"
        table.add_row(
            record.name,
            record.id,
            ", ".join(record.scopes),
            record.rate or "",
            str(record.concurrency or ""),
            record.created_at,
            expires,
        )
    return table
