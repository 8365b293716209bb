"""From a worker's shard of interactions to windows of whole histories, for training on all positions at once.

Shape legend: B batch, L window length, N interactions of the shard.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from data.sequences.batches import Shard, TrainBatch, taken
from data.sequences.histories import Sequences

POOL = 32
"""Batches among whose windows those of like length find together: without it, half of a batch may be padding."""


@dataclass(slots=True)
class WindowBatches:
    """Each user's items cut into windows of `length`, from the latest back; every item but a user's first is a target.

    A window belongs to the shard that holds its last interaction, so that workers share no target.

    Attributes:
        shard: user_row, item_row, position; taken into memory once.
        sequences: all users' items, which the windows look into.
        fewest: the number that all workers agree on, given each one's own; they must take equally many steps.
    """

    shard: Shard
    sequences: Sequences
    batch_size: int
    length: int
    fewest: Callable[[int], int] = int
    _ends: tuple[np.ndarray, np.ndarray] | None = None

    def num_examples(self) -> int:
        """Windows of all shards together."""
        return int(np.ceil(np.maximum(self.sequences.lengths_U - 1, 0) / self.length).sum())

    def epoch(self, seed: int) -> Iterator[TrainBatch]:
        """One pass over the windows in a new order; `history_BL` and the targets `item_rows` are both int32 [B, L].

        A batch holds windows of like length, and is cut to the longest of them.
        """
        users, positions = self._windows()
        random = np.random.default_rng(seed)
        order = random.permutation(len(users))[: self.fewest(len(users))]
        lengths = np.minimum(positions, self.length)
        for at in _alike(order, lengths, self.batch_size, random):
            longest = lengths[at].max()
            history = self.sequences.before(users[at], positions[at], longest)
            targets = self.sequences.before(users[at], positions[at] + 1, longest)
            yield TrainBatch(users[at], np.where(history > 0, targets, 0), history)

    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Users and positions of the windows' last items."""
        if self._ends is None:
            users, _, positions = taken(self.shard)
            from_the_end = self.sequences.lengths_U[users] - 1 - positions
            last = (from_the_end % self.length == 0) & (positions > 0)
            self._ends = users[last], positions[last]
        return self._ends


def _alike(order: np.ndarray, lengths: np.ndarray, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of `order`, each out of a pool of POOL batches sorted by length; the batches in a random order."""
    pooled = np.lexsort((lengths[order], np.arange(len(order)) // (POOL * size)))
    batches = [order[pooled[start : start + size]] for start in range(0, len(order), size)]
    return (batches[number] for number in random.permutation(len(batches)))
