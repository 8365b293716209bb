"""Negatives that do not count: the positive itself (accidental hits), and what else its user has chosen (false
negatives). And positives that no other negative is left for.

Shape legend: B positives, R rows of a batch, K items of its users (k some of them), C candidates, E pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.sequences.batches import TrainBatch

LAST_BITS = (1 << 17) - 1
"""The bits of an item row that are looked up before it is searched for."""


@dataclass(frozen=True, slots=True)
class OwnItems:
    """The items of a batch's users, which are no negatives of theirs. A user may have one several times.

    Attributes:
        row_K: int64, the row of the batch that each item is of, 0 to R - 1.
        items_K: item rows; those of the positives are among them.
        row_B: int64, the row of the batch that each positive is of, ascending.
    """

    row_K: Tensor
    items_K: Tensor
    row_B: Tensor

    @classmethod
    def of(cls, batch: TrainBatch, positive_rows_B: Tensor) -> "OwnItems | None":
        """The items that a batch has of its users, and its positives; None where it has positives alone."""
        if batch.own_items is None:
            return None
        device = positive_rows_B.device
        row_B = torch.arange(len(positive_rows_B), device=device)
        if batch.item_rows.ndim == 2:
            row_B = torch.from_numpy(np.flatnonzero(batch.item_rows) // batch.item_rows.shape[1]).to(device)
        items_K = torch.from_numpy(batch.own_items.values_K).to(device)
        row_K = torch.repeat_interleave(torch.from_numpy(batch.own_items.lengths_B).to(device))
        return cls(torch.cat([row_K, row_B]), torch.cat([items_K, positive_rows_B]), row_B)

    def among(self, candidate_rows_C: Tensor) -> Tensor:
        """int64 [2, E]: the pairs (positive, candidate) in which the candidate is an item of the positive's user.

        Each pair is there once, ordered by positive.
        """
        num_candidates = len(candidate_rows_C)
        likely_k = _likely_among(self.items_K, candidate_rows_C)
        of_k, candidate_E = same_items(self.items_K[likely_k], candidate_rows_C)
        keys_E = (self.row_K[likely_k[of_k]] * num_candidates + candidate_E).unique()  # ascending
        row_E, candidate_E = keys_E // num_candidates, keys_E % num_candidates
        positive_E, at_E = _matches(self.row_B, row_E)
        return torch.stack([positive_E, candidate_E[at_E]])

    def have(self, item_rows_B: Tensor) -> Tensor:
        """bool [B]: whether an item for each positive is one of its user's."""
        num_items = int(max(self.items_K.max(), item_rows_B.max())) + 1
        return torch.isin(self.row_B * num_items + item_rows_B, self.row_K * num_items + self.items_K)


def same_items(positive_rows_B: Tensor, candidate_rows_C: Tensor) -> Tensor:
    """int64 [2, E]: the pairs (positive, candidate) of the same item, as indices, ordered by positive.

    If the positive is itself among the candidates, that pair is one of them; the others are accidental hits.
    """
    sorted_C, order_C = candidate_rows_C.sort(stable=True)
    positive_E, at_E = _matches(positive_rows_B, sorted_C)
    return torch.stack([positive_E, order_C[at_E]])


def _likely_among(item_rows_K: Tensor, candidate_rows_C: Tensor) -> Tensor:
    """int64 [k]: indices, ascending, of all items that are among the candidates, and of few that are not.

    A batch's users have many more items than it has candidates, and most are none of these. Looking up the last bits
    of a row leaves these out at a twentieth of the cost of searching for each.
    """
    is_there = torch.zeros(LAST_BITS + 1, dtype=torch.bool, device=candidate_rows_C.device)
    is_there[candidate_rows_C.long() & LAST_BITS] = True
    return is_there[item_rows_K.long() & LAST_BITS].nonzero().flatten()


def _matches(values_B: Tensor, ascending_C: Tensor) -> tuple[Tensor, Tensor]:
    """int64 [E] twice: the pairs of equal values, as indices, ordered by the first."""
    first_B = torch.searchsorted(ascending_C, values_B)
    count_B = torch.searchsorted(ascending_C, values_B, right=True) - first_B
    pair_E = torch.repeat_interleave(count_B)
    within_E = torch.arange(len(pair_E), device=pair_E.device) - (count_B.cumsum(0) - count_B)[pair_E]
    return pair_E, first_B[pair_E] + within_E


def have_negatives(excluded_2E: Tensor | None, positive_B: Tensor, num_candidates: int) -> Tensor:
    """bool [B]: whether a positive has a candidate that is not excluded. One without any cannot be learnt from.

    Args:
        excluded_2E: the pairs (positive, candidate) that do not count, each once; None means that there are none.
        positive_B: one value for each positive; only its length and its device matter.
        num_candidates: C.
    """
    num_excluded_B = torch.zeros(len(positive_B), dtype=torch.int64, device=positive_B.device)
    if excluded_2E is not None:
        num_excluded_B.index_add_(0, excluded_2E[0], torch.ones_like(excluded_2E[0]))
    return num_excluded_B < num_candidates
