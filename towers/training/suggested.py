"""Suggested positives: some of a user's positives are, in training, items that the item-item filter suggests to them.

A filter over the graph (towers/evaluation/baselines.py) and a factorisation err in different places. A share of what the first would
recommend, among the positives of the second, passes on what it knows of items that a user has not chosen yet, and the
result is still a dot product. This is distillation from a teacher's ranking (Tang & Wang 2018, "Ranking Distillation")
with positives drawn from it in place of a loss of its own.

Log q stays that of the log (towers/training/loop.py). Counting the suggestions in would be exact for the batch's items as
negatives, and is worse (README): what is suggested is often popular, and would be pushed away less.

Shape legend: U users, K suggestions to each, B batch, I items (row 0 of users and items = unknown).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from data.sequences.batches import TrainBatch
from data.sequences.histories import Sequences
from towers.evaluation.baselines import TIE, item_filter, rank_by_filter
from towers.evaluation.queries import HeldOut

NUM_SUGGESTIONS = 20
BATCH = 512


@dataclass(frozen=True)
class Suggested:
    """What the filter suggests to each user, and how often that takes the place of a positive.

    Attributes:
        share: of the positives that are suggestions, 0 to below 1.
        item_rows_UK: int32, best first, items that the user has not chosen.
        cumulative_UK: float32, the suggestions' shares of the user's, added up; all zero where there are none.
    """

    share: float
    item_rows_UK: np.ndarray
    cumulative_UK: np.ndarray

    @classmethod
    def of(cls, sequences: Sequences, num_items: int, share: float) -> "Suggested":
        """From the interactions that the towers are fitted on, each suggestion as likely as its score is high."""
        weights_II, _ = item_filter(sequences, num_items)
        everybody = np.arange(len(sequences.lengths_U), dtype=np.int32)
        nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        counts_I = np.bincount(sequences.items_N, minlength=num_items)
        found = rank_by_filter(weights_II, HeldOut(everybody, nothing, sequences), counts_I, BATCH, NUM_SUGGESTIONS)
        scores_UK = np.where(found.scores_QK > TIE, found.scores_QK, 0.0)  # the rest is there for its popularity alone
        total_U1 = scores_UK.sum(1, keepdims=True)
        cumulative_UK = np.cumsum(scores_UK / np.where(total_U1 > 0, total_U1, 1), axis=1)
        return cls(share, np.maximum(found.rows_QK, 0).astype(np.int32), cumulative_UK.astype(np.float32))

    def among(self, batches: Iterable[TrainBatch], random: np.random.Generator) -> Iterator[TrainBatch]:
        """The batches, each positive replaced with probability `share` by one of its user's suggestions."""
        for batch in batches:
            cumulative_BK = self.cumulative_UK[batch.user_rows_B]
            total_B1 = cumulative_BK[:, -1:]
            taken_B = (random.random(len(total_B1)) < self.share) & (total_B1[:, 0] > 0)
            which_B = (cumulative_BK <= random.random((len(total_B1), 1)) * total_B1).sum(1)
            which_B = np.minimum(which_B, cumulative_BK.shape[1] - 1)
            suggested_B = self.item_rows_UK[batch.user_rows_B, which_B]
            yield replace(batch, item_rows=np.where(taken_B, suggested_B, batch.item_rows))
