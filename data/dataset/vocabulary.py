"""Vocabularies: rows for external ids and feature values, and back. Row 0 stands for whatever is unknown."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.sequences.membership import distinct
from data.sources.schema import Feature
from data.sources.values.columns import fitting, in_one, whole
from data.sources.values.string_hashes import StringHashes
from data.sources.values.string_index import StringIndex, is_ascending

UNKNOWN_ROW = 0

MAX_LATEST = 100_000
"""Most ids whose rows are cached in a dictionary; when it is full, it is emptied."""

VALUES_PER_LOOKED_UP = 200
"""If the vocabulary has more than this many values for each id that `rows` looks up, ids are looked up one by one: a
hash table of the whole vocabulary would take longer to build."""


@dataclass(frozen=True)
class Vocabulary:
    """Distinct strings, sorted unless some were added later. The value at index i has row i + 1.

    Attributes:
        values: `string`, or `large_string` where they are more than one array of `string` holds.
    """

    values: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))

    @classmethod
    def of(cls, *columns: pa.Array | pa.ChunkedArray) -> "Vocabulary":
        """The vocabulary of all values in these columns of strings, without nulls."""
        strings = fitting(*columns)
        filled = [chunk for chunk in strings.chunks if len(chunk)]
        if len(filled) == 1 and not filled[0].null_count and is_ascending(filled[0]):
            return cls(filled[0])  # without a hash table of millions
        found = pc.unique(strings).drop_null()
        return cls(in_one(found.take(pc.sort_indices(found))))

    def __len__(self) -> int:
        """Number of rows, including row 0."""
        return len(self.values) + 1

    def rows(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """int32 [len(ids)]: the row of each id; 0 for null and for unknown ids."""
        if len(ids) * VALUES_PER_LOOKED_UP < len(self.values):
            return np.array([UNKNOWN_ROW if id_ is None else self.row(id_) for id_ in ids.to_pylist()], dtype=np.int32)
        indices = pc.index_in(ids, value_set=self.values)
        return pc.add(pc.fill_null(indices, -1), 1).to_numpy(zero_copy_only=False).astype(np.int32)

    def rows_of(self, other: "Vocabulary") -> np.ndarray:
        """int64 [len(other)]: for each row of another vocabulary, the row of its string here; 0 if it is unknown."""
        return np.concatenate([[UNKNOWN_ROW], self.rows(other.values)]).astype(np.int64)

    def row(self, id_: str) -> int:
        """The row of one id, or 0 if it is unknown. The first call prepares, see `prepare`."""
        return self._index.place(id_) + 1

    def prepare(self) -> None:
        """Does what the first call of `row` would otherwise do: for a million ids some hundredths of a second, or
        half a second if they are not sorted."""
        _ = self._index

    def rows_by_id(self, ids: Iterable[str]) -> list[int]:
        """The row of each id, or 0 if it is unknown. Fast for some hundreds of ids, many of which are in the cache."""
        wanted, latest = list(ids), self._latest
        rows = list(map(latest.get, wanted))
        if None not in rows:
            return cast(list[int], rows)
        if len(latest) > MAX_LATEST:
            latest.clear()
        for number, row in enumerate(rows):
            if row is None:
                rows[number] = latest[wanted[number]] = self.row(wanted[number])
        return cast(list[int], rows)

    def ids(self, rows: np.ndarray) -> pa.Array:
        """The id of each row; null for row 0."""
        indices = np.asarray(rows, dtype=np.int64) - 1
        return self.values.take(pa.array(indices, mask=indices < 0))

    @cached_property
    def _latest(self) -> dict[str, int]:
        """Rows that were looked up before."""
        return {}

    @cached_property
    def _index(self) -> StringIndex:
        return StringIndex(self.values)


@dataclass(frozen=True)
class SharedRows:
    """Finds the rows of many ids at a time; Ray's object store holds it once for all processes of a node.

    Attributes:
        values: those of a vocabulary.
        hashes: by which they are found.
    """

    values: pa.Array
    hashes: StringHashes

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "SharedRows":
        """The rows of a vocabulary; that takes half a second for a million ids."""
        return cls(vocabulary.values, StringHashes.of(vocabulary.values))

    def rows(self, ids: pa.ChunkedArray) -> np.ndarray:
        """int32 [len(ids)], as `Vocabulary.rows`, without a table of the whole vocabulary for each call."""
        wanted = ids.combine_chunks().cast(self.values.type)
        return (self.hashes.places(self.values, wanted) + 1).astype(np.int32)


def value_lists(column: pa.Array, feature: Feature) -> pa.ListArray:
    """The values of a feature column whose kind has a vocabulary, as one list per row.

    Args:
        column: of the Arrow type of the feature's kind.

    Returns:
        list<string>, or of `large_string`, of the column's length; null rows become empty lists.
    """
    lists = feature.kind.value_lists(column)
    return pc.if_else(pc.is_valid(lists), lists, pa.scalar([], lists.type))


def fit_vocabulary(column: pa.ChunkedArray, feature: Feature) -> Vocabulary:
    """The vocabulary of a feature column, without the values that occur on fewer rows than `min_count`."""
    lists = value_lists(whole(column), feature)
    kept = pc.unique(pc.list_flatten(lists))
    if feature.min_count > 1:  # a row may have a value several times
        value_M = pc.index_in(pc.list_flatten(lists), value_set=kept).to_numpy()
        row_M = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        counts = np.bincount(distinct(row_M * len(kept) + value_M) % max(len(kept), 1), minlength=len(kept))
        kept = kept.filter(pa.array(counts >= feature.min_count))
    return Vocabulary.of(kept.filter(pc.not_equal(kept, "")))
