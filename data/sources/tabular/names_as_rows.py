"""Rows that are none: the names of the columns, where files were joined, or before lines that should have no names."""

from collections.abc import Callable, Sequence

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.schema import DataError
from data.sources.values.columns import plain


def _spelled(*words: str) -> list[str]:
    names = ["id", *words, *(f"{word}{gap}id" for word in words for gap in ("", "_", "-", " "))]
    return [f"{name}{kind}" for name in names for kind in ("", ":token")]


NAMES_OF_IDS = {"user_id": _spelled("user", "uid"), "item_id": _spelled("item", "iid", "movie", "product")}
"""In lower case, what files name their columns of ids; RecBole's say their type too."""


def is_name(ids: pa.Array | pa.ChunkedArray, id_column: str) -> pa.Array | pa.ChunkedArray:
    """A mask of the ids that are what files name a column of ids.

    Args:
        id_column: "user_id" or "item_id".
    """
    return pc.is_in(pc.ascii_lower(ids), pa.array(NAMES_OF_IDS[id_column]))


def refuse_names(table: pa.Table, columns: Sequence[str], place: Callable[[int], str]) -> None:
    """Refuses a row that has in each column the column's name: a header that was repeated where files were joined.

    Args:
        table: its columns have the names of the file.
        columns: the columns that the file itself has, that of the ids first.
        place: the file with the row at an index, for the message.

    Raises:
        DataError: there is such a row.
    """
    found = None
    for name in columns:
        column = plain(table[name])
        if not pa.types.is_string(column.type):
            return
        same = pc.equal(pc.utf8_trim_whitespace(column), name.strip())
        found = same if found is None else pc.and_(found, same)
        if not pc.any(found).as_py():
            return
    if found is None:
        return
    count, first = pc.sum(found).as_py(), pc.index(found, True).as_py()
    others = f" (so do {count - 1} others)" if count > 1 else ""
    raise DataError(
        f"{place(first)}: the row repeats the names of the columns ({', '.join(columns)}){others}, as files do that"
        " were joined with their headers: remove it"
    )
