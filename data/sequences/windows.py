"""Training input for encoders that are trained on all positions of a history at once: windows of whole histories.

Shape legend: B batch, L window length, N interactions of the shard.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from data.sequences.batches import Shard, TrainBatch, load_shard
from data.sequences.buffers import Examples
from data.sequences.feedback import Feedback
from data.sequences.histories import Sequences
from data.sequences.positions import positions_from_the_end
from data.sequences.ragged import Ragged

BATCHES_PER_BUCKET = 32
"""Windows are bucketed by length among this many batches. Without that, half of a batch may be padding."""

LEFT_OUT = 0.05
"""A worker that leaves out more than this share of its windows says so."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class WindowBatches:
    """Batches of windows: each user's items, cut into windows of `length` from the latest item back.

    Every item but a user's first is a target once. A window belongs to the shard that holds its last interaction, so
    no target is in the windows of two workers. Where workers have windows of different numbers, an epoch takes as many
    of each as the one with fewest has, drawn anew each time.

    Attributes:
        shard: columns user_row, item_row and position, loaded into memory once; or what they hold, sorted by both.
        sequences: all users' items, which the windows are taken from.
        smallest_count: given this worker's number of windows, returns the smallest number among all workers: they must
            all take the same number of steps.
        feedback: weights, explicit negatives and contexts of the interactions.
        with_own_items: whether batches have all items of their users.
        num_workers: the number of workers.
    """

    shard: Shard | Examples
    sequences: Sequences
    batch_size: int
    length: int
    smallest_count: Callable[[int], int] = int
    feedback: Feedback = field(default_factory=Feedback)
    with_own_items: bool = False
    num_workers: int = 1
    _ends: tuple[np.ndarray, np.ndarray] | None = None
    _has_told: bool = False

    def num_examples(self) -> int:
        """Number of windows that an epoch takes, of all shards together; all workers call it at once."""
        there = len(self._window_ends()[0])
        taken = self.smallest_count(there)
        if there - taken > LEFT_OUT * there and not self._has_told:
            self._has_told = True
            logger.warning(
                "train.num_workers: this worker has %s windows of histories and another one %s, so each epoch leaves"
                " out %.0f %% of its own, drawn anew each time; users with many interactions lie together in the log,"
                " and fewer workers leave out less",
                f"{there:,}",
                f"{taken:,}",
                100 * (there - taken) / there,
            )
        return taken * self.num_workers

    def epoch(self, seed: int) -> Iterator[TrainBatch]:
        """One pass over the windows in the order that the seed gives; `history_BL` and `item_rows` are both [B, L].

        A batch holds windows of similar length and is as wide as the longest of them.
        """
        users, positions = self._window_ends()
        random = np.random.default_rng(seed)
        order = random.permutation(len(users))[: self.smallest_count(len(users))]
        lengths = np.minimum(positions, self.length)
        for at in _bucketed(order, lengths, self.batch_size, random):
            longest = lengths[at].max()
            history = self.sequences.before(users[at], positions[at], longest)
            targets = self.sequences.before(users[at], positions[at] + 1, longest)
            targets, of_N = np.where(history > 0, targets, 0), self.feedback.weights_N
            weights = None if of_N is None else self.sequences.before(users[at], positions[at] + 1, longest, of_N)
            unwanted, unwanted_weights = self.feedback.draw(np.broadcast_to(users[at][:, None], targets.shape), random)
            within = positions[at][:, None] + 1 - longest + np.arange(longest)
            context = self.feedback.contexts(self.sequences, users[at], within)
            moments = self.sequences.moments_before(users[at], positions[at], longest)
            own = Ragged.items_of(self.sequences, users[at]) if self.with_own_items else None
            yield TrainBatch(users[at], targets, history, weights, unwanted, unwanted_weights, context, *moments, own)

    def _window_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """User rows and positions of the last item of each window."""
        if self._ends is None:
            users, _, positions = load_shard(self.shard)
            from_the_end = positions_from_the_end(users, positions, self.sequences.lengths_U)
            is_end = (from_the_end % self.length == 0) & (positions > 0)
            self._ends = users[is_end], positions[is_end]
        return self._ends


def _bucketed(order: np.ndarray, lengths: np.ndarray, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of `order` in random order; each bucket of BATCHES_PER_BUCKET batches was sorted by length first."""
    by_length = np.lexsort((lengths[order], np.arange(len(order)) // (BATCHES_PER_BUCKET * size)))
    batches = [order[by_length[start : start + size]] for start in range(0, len(order), size)]
    return (batches[number] for number in random.permutation(len(batches)))
