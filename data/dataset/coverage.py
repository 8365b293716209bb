"""Whether the ids of a log and of its tables meet, and which ids look like one id that is written in two ways."""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data.sources.schema import DataError
from data.sources.values.ids import undecorated

LOOKED_AT = 1 << 17
"""Number of ids that are looked at together."""

MIN_COVERED = 0.8
"""A note says so if fewer of a log's ids than this share have a row in their table."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many ids of a log have a row in the table of users or of items, or in the file of items' vectors.

    Attributes:
        side: "users" or "items".
        table: "users", "items" or "item_vectors".
        num_in_log: number of distinct ids in the log.
        num_known: number of them that have a row.
        num_unused: number of rows whose id is not in the log.
        unknown_example: an id of the log without a row; None if there is none.
        unused_example: an id with a row that is not in the log; None if there is none.
        num_alike: number of the ids without a row that would have one without leading zeros and ".0".
    """

    side: str
    table: str
    num_in_log: int
    num_known: int
    num_unused: int
    unknown_example: str | None
    unused_example: str | None
    num_alike: int

    @classmethod
    def of(cls, side: str, ids_in_log: pa.Array, table_ids: pa.Array, table: str | None = None) -> "Coverage":
        """Compares the distinct ids of a log with those of a table; `table` is its name, if not that of the side."""
        unknown = ids_in_log.filter(pc.invert(pc.is_in(ids_in_log, table_ids)))
        unused = table_ids.filter(pc.invert(pc.is_in(table_ids, ids_in_log)))
        alike = pc.sum(pc.is_in(undecorated(unknown), undecorated(unused))).as_py() or 0
        of_log, of_table = (values[0].as_py() if len(values) else None for values in (unknown, unused))
        num_known = len(ids_in_log) - len(unknown)
        return cls(side, table or side, len(ids_in_log), num_known, len(unused), of_log, of_table, alike)

    @property
    def is_low(self) -> bool:
        """Whether so few ids of the log have a row that the table may be of another log."""
        return self.num_known < MIN_COVERED * self.num_in_log

    def check(self, place: str) -> None:
        """Raises DataError if no id of the log has a row."""
        if not self.num_known:
            setting = f"data.source.{self.side}" if self.table == self.side else f"data.{self.table}"
            raise DataError(f"{place}: {self}: write the ids alike in both; {setting}=null does without the table")

    def as_manifest(self) -> dict[str, Any]:
        """The coverage as the manifest holds it."""
        return asdict(self)

    def __str__(self) -> str:
        if not (self.num_known == 0 or self.is_low):
            return (
                f"{self.num_known:,} of {self.num_in_log:,} {self.side} of the log have a row in {self.table}"
                f"{self._unused(examples=False)}"
            )
        num_unknown = self.num_in_log - self.num_known
        return (
            f"{num_unknown:,} of {self.num_in_log:,} {self.side} of the log have no row in {self.table}, such as"
            f" {self.unknown_example!r}{self._unused(examples=True)}{self._alike()}"
        )

    def _unused(self, examples: bool) -> str:
        if not self.num_unused:
            return ""
        example = f", such as {self.unused_example!r}" if examples else ""
        return f"; {self.num_unused:,} rows of {self.table} are not in the log{example}"

    def _alike(self) -> str:
        return f" ({self.num_alike:,} would meet without leading zeros and '.0')" if self.num_alike else ""


def look_alike_notes(side: str, ids: pa.Array) -> list[str]:
    """A sentence on the ids that differ from others by leading zeros or ".0" alone; none if there are no such ids.

    Args:
        side: "users" or "items".
        ids: distinct ids.
    """
    parts = [ids.slice(start, LOOKED_AT) for start in range(0, len(ids), LOOKED_AT)]
    decorated = [part.filter(pc.not_equal(undecorated(part), part)) for part in parts]
    others = pc.unique(pa.chunked_array([undecorated(part) for part in decorated], ids.type))
    if not len(others):  # without a decorated one, no two ids are alike
        return []
    alike = [part.filter(pc.is_in(undecorated(part), value_set=others)) for part in parts]
    found = pa.chunked_array(alike, ids.type)
    table = pa.table({"plain": undecorated(found), "id": found})
    groups = table.group_by("plain").aggregate([("id", "min"), ("id", "max"), ([], "count_all")])
    several = groups.filter(pc.greater(groups["count_all"], 1))
    if not several.num_rows:
        return []
    first = several.slice(0, 1).to_pylist()[0]
    return [
        f"{several.num_rows:,} ids of {side} are written in several ways, such as {first['id_min']!r} and"
        f" {first['id_max']!r}: each counts as another one"
    ]


def refuse_look_alikes(added: pa.ChunkedArray, known: pa.Array, given: pa.ChunkedArray) -> None:
    """Refuses new items whose ids differ from that of a known item by leading zeros or ".0" alone.

    Args:
        added: ids of the new items.
        known: ids of the known items.
        given: ids of all items in the file. Where it has both ids, they are taken to be of two items.

    Raises:
        DataError: there is such an item.
    """
    if not len(added):
        return
    twins = known.take(pc.index_in(undecorated(added).combine_chunks(), value_set=undecorated(known)))
    alike = pc.and_(pc.is_valid(twins), pc.invert(pc.is_in(twins, given.combine_chunks())))
    if count := pc.sum(alike).as_py():
        at = pc.index(alike, True).as_py()
        raise DataError(
            f"rows: {count:,} of {len(added):,} new items differ from known ones by leading zeros or '.0' alone, such"
            f" as {added[at].as_py()!r} from {twins[at].as_py()!r}: write their ids as the log does; if they are other"
            " items, give the known ones in the same file"
        )
