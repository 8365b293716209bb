"""Training batches from a worker's shard of interactions, each interaction with a history of its user.

Shape legend: B batch, L history length, N interactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from data.sequences.buffers import Examples
from data.sequences.feedback import Feedback
from data.sequences.histories import HistoryOrder, Sequences
from data.sequences.others import OtherItems
from data.sequences.ragged import Ragged


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Positives, each with its user and the user's history; all arrays but weights are int32.

    Attributes:
        user_rows_B: the user of each row.
        item_rows: [B], one positive per row; or [B, L], the positive after each item of the history (0 = none).
        history_BL: item rows, oldest first, padded with 0 on the left.
        weights: float32, how much each positive counts; of the shape of `item_rows`. None means that all count alike.
        negative_rows: for each positive an item that its user does not want, 0 = none; of the shape of `item_rows`.
            None means that no user has any.
        negative_weights: float32, how much each of these counts.
        context: int64 [B, C] or [B, L, C], rows of the values of each positive's context. None where the towers take
            none.
        times_BL: int64, unix seconds of the history's items, 0 at padding. None where the sequences hold none.
        types_BL: int16, types of the events of the history, see `Sequences.types_N`, 0 at padding. None likewise.
        own_items: all items of the user of each row. None where they may be negatives of the user.
    """

    user_rows_B: np.ndarray
    item_rows: np.ndarray
    history_BL: np.ndarray
    weights: np.ndarray | None = None
    negative_rows: np.ndarray | None = None
    negative_weights: np.ndarray | None = None
    context: np.ndarray | None = None
    times_BL: np.ndarray | None = None
    types_BL: np.ndarray | None = None
    own_items: Ragged | None = None


class Shard(Protocol):
    """A worker's part of the interactions: `ray.train.get_dataset_shard(...)`, or `iterator()` of a Ray dataset."""

    def iter_batches(self, **options: object) -> Iterator[pa.Table]:
        """Yields the interactions as tables; the options are those of Ray's `DataIterator.iter_batches`."""
        ...


@dataclass(slots=True)
class ShardBatches:
    """A shard as training batches, one epoch after the other; the same seed gives the same batches.

    A shard is loaded once, sorted (Ray delivers its blocks in any order) and permuted anew in each epoch, because Ray
    Data's streaming execution takes seconds to start each time. What does not fit into memory is streamed as one shard
    after the other (data/sequences/streaming.py).

    Attributes:
        shard: columns user_row, item_row and position, to be loaded; or what they hold, sorted by user and position.
        sequences: all users' items; the positions of the interactions are indices into them.
        history_length: L, number of items in a history.
        order: which of a user's other interactions make up the history.
        feedback: weights, explicit negatives and contexts of the interactions.
        with_own_items: whether batches have all items of their users.
    """

    shard: Shard | Examples
    sequences: Sequences
    batch_size: int
    history_length: int
    order: HistoryOrder
    feedback: Feedback = field(default_factory=Feedback)
    with_own_items: bool = False
    _loaded: Examples | None = None
    _others: OtherItems | None = None

    def num_examples(self) -> int:
        """Number of interactions of all shards together."""
        return len(self.sequences.items_N)

    def epoch(self, seed: int) -> Iterator[TrainBatch]:
        """One pass over the shard; the last batch may be smaller."""
        random = np.random.default_rng(seed)
        for users, items, positions in self._permuted(random):
            history = self._history(users, positions, random)
            moments = self._moments(users, positions)
            weights = self.feedback.weights(self.sequences, users, positions)
            context = self.feedback.contexts(self.sequences, users, positions)
            unwanted, unwanted_weights = self.feedback.draw(users, random)
            own = Ragged.items_of(self.sequences, users) if self.with_own_items else None
            yield TrainBatch(users, items, history, weights, unwanted, unwanted_weights, context, *moments, own)

    def _history(self, users: np.ndarray, positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if self.order is HistoryOrder.others:
            if self._others is None:
                self._others = OtherItems.of(self.sequences)
            return self._others.draw(users, positions, self.history_length, random)
        return self.sequences.before(users, positions, self.history_length)

    def _moments(self, users: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self.order is HistoryOrder.others:  # the configuration refuses encoders that would take them
            return None, None
        return self.sequences.moments_before(users, positions, self.history_length)

    def _permuted(self, random: np.random.Generator) -> Iterator[Examples]:
        if self._loaded is None:
            self._loaded = load_shard(self.shard)
        users, items, positions = self._loaded
        order = random.permutation(len(users))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield Examples(users[rows], items[rows], positions[rows])


def load_shard(shard: Shard | Examples) -> Examples:
    """A whole shard in memory, sorted by user and position."""
    if isinstance(shard, Examples):
        return shard
    table = pa.concat_tables(shard.iter_batches(batch_size=None, batch_format="pyarrow"))
    table = table.sort_by([("user_row", "ascending"), ("position", "ascending")])
    return Examples(*(table[name].to_numpy() for name in ("user_row", "item_row", "position")))
