"""Training rows from files that do not fit into a worker's memory, in a new random order in each epoch.

A prepared dataset is sorted by user, and every reader but this one relies on that. Writing a second, shuffled copy
would double its size, and would fix one order for all epochs. So the order is made while reading: the row groups of all
files are shuffled, and then the rows of many row groups at a time, in memory, as readers of sharded training sets do
(Petastorm, WebDataset). A batch mixes users of as many row groups as a buffer holds. Rows in the order of the files
would be those of a few dozen neighbouring users.

Shape legend: N rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from data.sequences.positions import continue_positions

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""User rows, item rows and positions, each int32 [N]."""

COLUMNS = ["user_row", "item_row", "position"]

BUFFER_ROWS = 16_000_000
"""Rows (12 bytes each, and as many again while they are shuffled) that a worker shuffles at a time."""


@dataclass(frozen=True)
class TrainFiles:
    """Parquet files of interactions, one list for each split that is fitted on, oldest split first.

    Attributes:
        filesystem: where they are.
        paths: of each split.
        num_earlier_U: for each split, int, each user's number of interactions in the splits before it, after which its
            positions continue; empty where there is one split.
    """

    filesystem: fs.FileSystem
    paths: tuple[Sequence[str], ...]
    num_earlier_U: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class StreamedRows:
    """A worker's share of the rows of files: the same number of rows on every worker.

    The order follows from the seed alone, so a training that resumes at an epoch reads what it would have read.

    Attributes:
        files: the files of all workers together.
        rank, num_workers: which share this is, of how many.
        buffer_rows: number of rows that are shuffled at a time.
    """

    files: TrainFiles
    rank: int = 0
    num_workers: int = 1
    buffer_rows: int = BUFFER_ROWS

    def batches(self, size: int, seed: int) -> Iterator[Rows]:
        """Each row of this worker's share once, in batches of `size`; the last one may be smaller.

        Which rows are whose share changes from epoch to epoch; up to `num_workers` - 1 rows are left out.

        Args:
            seed: the same on all workers, another one in each epoch.
        """
        random = np.random.default_rng([seed, self.rank])
        kept: Rows | None = None
        for buffered in self._buffers(seed):
            users, items, positions = (
                buffered if kept is None else map(np.concatenate, zip(kept, buffered, strict=True))
            )
            order = random.permutation(len(users))
            whole = len(order) - len(order) % size
            for start in range(0, whole, size):
                at = order[start : start + size]
                yield users[at], items[at], positions[at]
            left = order[whole:]
            kept = users[left], items[left], positions[left]
        if kept is not None and len(kept[0]):
            yield kept

    def _buffers(self, seed: int) -> Iterator[Rows]:
        """This worker's rows of the shuffled row groups, of about `buffer_rows` rows at a time."""
        pieces, held = [], 0
        for piece in self._pieces(seed):
            pieces.append(piece)
            held += len(piece[0])
            if held >= self.buffer_rows:
                yield _joined(pieces)
                pieces, held = [], 0
        if pieces:
            yield _joined(pieces)

    def _pieces(self, seed: int) -> Iterator[Rows]:
        """What falls to this worker of each row group: of all rows in shuffled order, a contiguous share."""
        order = np.random.default_rng(seed).permutation(len(self._row_groups))
        ends = np.cumsum([self._row_groups[number][3] for number in order])
        share = int(ends[-1]) // self.num_workers if len(ends) else 0
        first, last = self.rank * share, (self.rank + 1) * share
        for number, end in zip(order, ends.tolist(), strict=True):
            split, path, row_group, num_rows = self._row_groups[number]
            start, stop = max(first - (end - num_rows), 0), min(last - (end - num_rows), num_rows)
            if start < stop:
                yield columns(self._read(split, path, row_group).slice(start, stop - start))

    def _read(self, split: int, path: str, row_group: int) -> pa.Table:
        with self.files.filesystem.open_input_file(path) as file:
            table = pq.ParquetFile(file).read_row_group(row_group, columns=COLUMNS)
        return continue_positions(table, self.files.num_earlier_U[split]) if split else table

    @cached_property
    def _row_groups(self) -> list[tuple[int, str, int, int]]:
        """Split, path, index and number of rows of each row group, by the files' footers."""
        found = []
        for split, paths in enumerate(self.files.paths):
            for path in paths:
                with self.files.filesystem.open_input_file(path) as file:
                    metadata = pq.ParquetFile(file).metadata
                found += [(split, path, at, metadata.row_group(at).num_rows) for at in range(metadata.num_row_groups)]
        return found


def columns(table: pa.Table) -> Rows:
    """The three columns of a table as arrays."""
    users, items, positions = (table[name].to_numpy() for name in COLUMNS)
    return users, items, positions


def _joined(parts: Sequence[Rows]) -> Rows:
    users, items, positions = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return users, items, positions
