"""From a worker's shard of interactions to training batches, each with the user's history at that moment.

Shape legend: B batch, L history length, U users (row 0 included), N interactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from data.sequences.histories import HistoryOrder, Sequences


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Positives and what was known of the user: int32 arrays.

    Attributes:
        item_rows: [B], one positive per row, or [B, L], the positive after each item of the history (0 = none).
        history_BL: oldest first, padded with 0 on the left.
    """

    user_rows_B: np.ndarray
    item_rows: np.ndarray
    history_BL: np.ndarray


class Shard(Protocol):
    """What a worker is fed with: `ray.train.get_dataset_shard(...)`, or a Ray dataset's own `iterator()`."""

    def iter_batches(self, **options: object) -> Iterator[pa.Table]: ...


@dataclass(slots=True)
class ShardBatches:
    """A shard as training batches, epoch after epoch, the same for the same seed.

    A shard in memory is taken once, put in order (a shard's blocks come in any order) and permuted anew each epoch;
    starting Ray Data's streaming execution costs seconds per epoch. A streamed shard is shuffled in a local buffer.

    Attributes:
        sequences: all users' items, which the examples' positions point into.
        in_memory: take the shard once, or stream it each epoch.
    """

    shard: Shard
    sequences: Sequences
    batch_size: int
    history_length: int
    order: HistoryOrder
    in_memory: bool
    _taken: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def num_examples(self) -> int:
        """Interactions of all shards together."""
        return len(self.sequences.items_N)

    def epoch(self, seed: int) -> Iterator[TrainBatch]:
        """One pass over the shard; the last batch may be smaller."""
        random = np.random.default_rng(seed)
        for users, items, positions in self._permuted(random) if self.in_memory else self._streamed(seed):
            yield TrainBatch(users, items, self._history(users, positions, random))

    def _history(self, users: np.ndarray, positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if self.order is HistoryOrder.others:
            return self.sequences.others(users, positions, self.history_length, random)
        return self.sequences.before(users, positions, self.history_length)

    def _permuted(self, random: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        if self._taken is None:
            self._taken = taken(self.shard)
        users, items, positions = self._taken
        order = random.permutation(len(users))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield users[rows], items[rows], positions[rows]

    def _streamed(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        buffer = 16 * self.batch_size
        options = {"local_shuffle_buffer_size": buffer, "local_shuffle_seed": seed, "batch_format": "pyarrow"}
        for table in self.shard.iter_batches(batch_size=self.batch_size, **options):
            yield _columns(table)


def taken(shard: Shard) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A whole shard in memory: user rows, item rows, positions, by user and position."""
    table = pa.concat_tables(shard.iter_batches(batch_size=None, batch_format="pyarrow"))
    return _columns(table.sort_by([("user_row", "ascending"), ("position", "ascending")]))


def _columns(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    users, items, positions = (table[name].to_numpy() for name in ("user_row", "item_row", "position"))
    return users, items, positions
