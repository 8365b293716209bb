"""Exact retrieval over the whole catalogue, and masking of items that a user has already seen.

Shape legend: B queries, I items (row 0 = unknown, never returned), K ranks, G blocks of b items,
C candidates, T columns of scores (the items in the order in which ties fall, then padding).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.sequences.histories import Sequences
from towers.model.tie_order import TieOrder

BLOCK = 32
"""Number of items per block; `top_k` compares the maxima of blocks before it compares items."""


def top_k(scores_BI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best columns by score, ties by the lower one: (columns int64 [B, K], scores [B, K]).

    K = min(k, I). The columns are items, in the order of rows or in that in which ties fall (`ScoreColumns`). Masked
    items (score -inf) come last; callers drop them.

    In a large catalogue only some blocks of neighbouring rows are searched: the k blocks with the best maxima (ties by
    lower block), and the incomplete block at the end. An item of any other block has at least k better items before
    it, namely those maxima.
    """
    num_items = scores_BI.shape[1]
    num_blocks = num_items // BLOCK
    if num_blocks < 2 * k:
        return _top_k(scores_BI, min(k, num_items))
    blocks_BGb = scores_BI[:, : num_blocks * BLOCK].unflatten(1, (num_blocks, BLOCK))
    best_BG = _top_k(blocks_BGb.amax(2), k)[0].sort(dim=1).values
    rows_BC = (best_BG[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores_BI.device)).flatten(1)
    rest = torch.arange(num_blocks * BLOCK, num_items, device=scores_BI.device)
    rows_BC = torch.cat([rows_BC, rest.expand(len(rows_BC), -1)], dim=1)
    position_BK, scores_BK = _top_k(scores_BI.gather(1, rows_BC), k)
    return rows_BC.gather(1, position_BK), scores_BK


def _top_k(scores_BI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`top_k` by comparing every item."""
    scores_BK, rows_BK = scores_BI.topk(k, dim=1)
    if k == 0:
        return rows_BK, scores_BK
    lowest_B1 = scores_BK[:, -1:]
    cut_tie_N = ((scores_BI == lowest_B1).sum(1) > (scores_BK == lowest_B1).sum(1)).nonzero().flatten()
    if len(cut_tie_N):  # a tie across the boundary: which of the tied rows torch.topk keeps is undefined
        sorted_scores, order = scores_BI[cut_tie_N].sort(dim=1, descending=True, stable=True)
        scores_BK[cut_tie_N], rows_BK[cut_tie_N] = sorted_scores[:, :k], order[:, :k]
    by_row = rows_BK.argsort(dim=1)
    rows_BK, scores_BK = rows_BK.gather(1, by_row), scores_BK.gather(1, by_row)
    by_score = scores_BK.argsort(dim=1, descending=True, stable=True)
    return rows_BK.gather(1, by_score), scores_BK.gather(1, by_score)


class BestColumns:
    """The k best columns of scores that come in blocks of columns, as `top_k` returns them for all at once.

    Attributes:
        start: the first column of the next block.
    """

    def __init__(self, k: int) -> None:
        self.start, self._k = 0, k
        self._best: tuple[Tensor, Tensor] | None = None

    def add(self, scores_BT: Tensor) -> None:
        """Takes the next block, in which what may not be found is masked."""
        columns_BK, scores_BK = top_k(scores_BT, self._k)
        found = columns_BK + self.start, scores_BK
        if self._best is not None:  # the earlier blocks' columns come first, so that they win ties
            columns_BC, scores_BC = (torch.cat(column, dim=1) for column in zip(self._best, found, strict=True))
            position_BK, scores_BK = top_k(scores_BC, self._k)
            found = columns_BC.gather(1, position_BK), scores_BK
        self._best = found
        self.start += scores_BT.shape[1]

    def found(self) -> tuple[Tensor, Tensor]:
        """The best columns, int64 [B, K], and their scores; there must have been a block."""
        assert self._best is not None
        return self._best


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The columns of score matrices: the catalogue in the order in which ties fall, so that `top_k` breaks them by it.

    Attributes:
        row_T: int64, the item row of each column; the padding has row 0.
        column_I: int64, the column of each item row.
    """

    row_T: Tensor
    column_I: Tensor

    @classmethod
    def of(cls, ties: TieOrder, pad_to: int = 1) -> "ScoreColumns":
        """The columns of a catalogue, padded with row 0 to a multiple of `pad_to`."""
        padding = np.zeros(-len(ties.rows_I) % pad_to, dtype=np.int64)
        return cls(torch.from_numpy(np.concatenate([ties.rows_I, padding])), torch.from_numpy(ties.rank_I))

    def mask(self, scores_BT: Tensor, seen: Sequences, user_rows_B: np.ndarray) -> Tensor:
        """Sets the scores of row 0, of the padding and of each user's seen items to -inf, in place."""
        return self.mask_block(scores_BT, 0, self.seen_cells(seen, user_rows_B))

    def seen_cells(self, seen: Sequences, user_rows_B: np.ndarray) -> tuple[Tensor, Tensor]:
        """The queries, and beside each the column of an item that its user has seen: int64, as many as all have."""
        owner, items = seen.of_users(user_rows_B)
        return torch.from_numpy(owner), self.column_I[torch.from_numpy(items.astype(np.int64))]

    def rows_of(self, best: BestColumns) -> tuple[Tensor, Tensor]:
        """The item rows of the best columns, int64 [B, K], -1 where all others are masked, and their scores."""
        columns_BK, scores_BK = best.found()
        return torch.where(torch.isinf(scores_BK), -1, self.row_T.to(columns_BK.device)[columns_BK]), scores_BK

    def mask_block(self, scores_BT: Tensor, start: int, seen_cells: tuple[Tensor, Tensor]) -> Tensor:
        """`mask` for scores of the columns from `start` on, in place."""
        owner, columns = seen_cells
        width, num_items = scores_BT.shape[1], len(self.column_I)
        if start == 0:
            scores_BT[:, 0] = -torch.inf
        if start + width > num_items:
            scores_BT[:, num_items - start :] = -torch.inf
        if width < len(self.row_T):
            inside = (columns >= start) & (columns < start + width)
            owner, columns = owner[inside], columns[inside] - start
        scores_BT[owner, columns] = -torch.inf
        return scores_BT


def mask_seen(scores_BI: Tensor, seen: Sequences, user_rows_B: np.ndarray) -> Tensor:
    """`ScoreColumns.mask` for scores whose columns are in the order of rows."""
    return ScoreColumns.of(TieOrder.of(scores_BI.shape[1], None)).mask(scores_BI, seen, user_rows_B)
