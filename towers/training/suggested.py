"""Suggested positives: in training, some positives of a user are replaced by what the item-item filter recommends.

A filter over the interaction graph (towers/evaluation/baselines/item_filter.py) and a factorisation err on different
items. By training on some of the filter's recommendations, the towers learn from it about items that a user has not
chosen yet, and the model stays a dot product. This is distillation from a teacher's ranking (Tang & Wang 2018, "Ranking
Distillation"), with one departure: positives are drawn from the ranking, in place of a separate loss for it.

Log q still counts the interactions of the log alone. Counting the suggestions too would be exact for in-batch
negatives, but gave worse results (docs/measurements.md): suggestions are often popular, and would be pushed away less.

Shape legend: U users, K suggestions to each, B batch, I items (row 0 of users and items = unknown).
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from data.dataset.prepared import PreparedDataset
from data.sequences.batches import TrainBatch
from data.sequences.histories import Sequences
from data.sources.event_types import EventType, is_negative_of_towers, is_positive
from towers.evaluation.baselines.item_filter import TIE, item_filter, rank_by_filter
from towers.evaluation.queries import HeldOut

NUM_SUGGESTIONS = 20
"""Number of suggestions to each user (K)."""

BATCH = 512
"""Number of users whose suggestions are computed at a time."""


@dataclass(frozen=True)
class SuggestedPositives:
    """What the filter suggests to each user, and how often a suggestion replaces a positive.

    Attributes:
        share: probability that a positive is replaced, 0 to below 1.
        item_rows_UK: int32, items that the user has neither chosen nor turned down, best first.
        cumulative_UK: float32, cumulative probabilities of a user's suggestions; all zero where there are none.
    """

    share: float
    item_rows_UK: np.ndarray
    cumulative_UK: np.ndarray

    @classmethod
    def of(
        cls, sequences: Sequences, num_items: int, share: float, known: Sequences | None = None
    ) -> "SuggestedPositives":
        """The suggestions by the interactions that the towers are fitted on, drawn in proportion to their scores.

        Args:
            sequences: the users' items in the splits that the towers are fitted on.
            num_items: I, row 0 included.
            share: probability that a positive is replaced.
            known: the items that are not suggested to each user (`known_items`); None means those of `sequences`.
        """
        weights_II, _ = item_filter(sequences, num_items)
        all_users_U = np.arange(sequences.num_users, dtype=np.int32)
        no_relevant = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        counts_I = np.bincount(sequences.items_N, minlength=num_items)
        queries = HeldOut(all_users_U, no_relevant, known or sequences, earlier=sequences)
        found = rank_by_filter(weights_II, queries, counts_I, BATCH, NUM_SUGGESTIONS)
        scores_UK = np.where(found.scores_QK > TIE, found.scores_QK, 0.0)  # scores up to TIE are popularity alone
        total_U1 = scores_UK.sum(1, keepdims=True)
        cumulative_UK = np.cumsum(scores_UK / np.where(total_U1 > 0, total_U1, 1), axis=1)
        return cls(share, np.maximum(found.rows_QK, 0).astype(np.int32), cumulative_UK.astype(np.float32))

    def replace_positives(self, batches: Iterable[TrainBatch], random: np.random.Generator) -> Iterator[TrainBatch]:
        """The batches, in which each positive is replaced with probability `share` by a suggestion to its user."""
        for batch in batches:
            cumulative_BK = self.cumulative_UK[batch.user_rows_B]
            total_B1 = cumulative_BK[:, -1:]
            is_replaced_B = (random.random(len(total_B1)) < self.share) & (total_B1[:, 0] > 0)
            which_B = (cumulative_BK <= random.random((len(total_B1), 1)) * total_B1).sum(1)
            which_B = np.minimum(which_B, cumulative_BK.shape[1] - 1)
            suggested_B = self.item_rows_UK[batch.user_rows_B, which_B]
            yield replace(batch, item_rows=np.where(is_replaced_B, suggested_B, batch.item_rows))


def known_items(dataset: PreparedDataset, splits: Collection[str]) -> Sequences | None:
    """Each user's items in these splits of which the user's own mind is known: positives, explicit negatives of the
    towers, and whatever counts as seen. None where all interactions are positives.

    The filter suggests what is near to a user's items, and such an item may well have been rated low. To train on it
    as a positive would contradict the log.
    """
    if not dataset.event_types:
        return None
    counts, columns = dataset.manifest["counts"], ["user_row", "item_row", "type"]
    parts = dataset.parts(*splits, columns=columns, kinds=("interactions", "others"))
    most = sum(counts[split] for split in splits) + counts.get("others", 0)
    return Sequences.of_parts((dataset.of_types(part, _is_known) for part in parts), dataset.users.num_rows, most)


def _is_known(of: EventType) -> bool:
    return is_positive(of) or is_negative_of_towers(of) or of.is_seen
