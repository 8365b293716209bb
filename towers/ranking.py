"""Rankings of the whole catalogue for held-out queries: by the towers, re-ranked, and by popularity as the floor.

Every user with a held-out interaction is a query; every item is a candidate; items already seen are masked. A user of
whom nothing is known gets popular items, here as at the endpoint.

Shape legend: Q queries, B a batch of them, I items (row 0 = unknown), D dimension, K ranks, L history length.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.batches import Sequences
from data.prepared import PreparedDataset
from data.split import TEST, TRAIN, VALIDATION
from towers.reranker import RECENT, Reranker, order, tensors
from towers.retrieval import mask_seen, top_k
from towers.two_tower import TwoTower

RANKS = 100
Scorer = Callable[[np.ndarray], tuple[Tensor, Tensor]]
"""User rows [B] to scores of all items [B, I], and which of these users the towers could speak for [B]."""


@dataclass(frozen=True)
class HeldOut:
    """The queries of one split: users with relevant items that they have not seen before.

    Attributes:
        user_rows_Q: int32, ascending.
        relevant: (query index, item row), flat, distinct.
        seen: what each user had seen before the split began; masked, and the user's history.
    """

    user_rows_Q: np.ndarray
    relevant: tuple[np.ndarray, np.ndarray]
    seen: Sequences

    @classmethod
    def of(cls, dataset: PreparedDataset, split: str) -> "HeldOut":
        """The queries of `split`, with all earlier splits as what has been seen."""
        before = (TRAIN,) if split == VALIDATION else (TRAIN, VALIDATION)
        num_users, num_items = len(dataset.users.ids), len(dataset.items.ids)
        seen_pairs = dataset.interactions(*before, columns=["user_row", "item_row"])
        held_out = dataset.interactions(split, columns=["user_row", "item_row"])
        keys = np.setdiff1d(_keys(held_out, num_items), _keys(seen_pairs, num_items))
        users, queries = np.unique(keys // num_items, return_inverse=True)
        return cls(users.astype(np.int32), (queries, keys % num_items), Sequences.of(seen_pairs, num_users))

    @property
    def num_relevant_Q(self) -> np.ndarray:
        return np.bincount(self.relevant[0], minlength=len(self.user_rows_Q))


def queries_of(dataset: PreparedDataset) -> HeldOut:
    """The queries of the test part.

    Raises:
        ValueError: no user has a test interaction with an item not seen before.
    """
    held_out = HeldOut.of(dataset, TEST)
    if not len(held_out.user_rows_Q):
        raise ValueError("test part: no user has an item there that is new to them; change data.split")
    return held_out


@dataclass(frozen=True)
class Ranking:
    """Every query's best items: rows int64 [Q, K] (-1 = none left), scores float32 [Q, K].

    Attributes:
        by_towers_Q: bool; the other queries, of whom nothing is known, got popular items.
    """

    rows_QK: np.ndarray
    scores_QK: np.ndarray
    by_towers_Q: np.ndarray


@torch.inference_mode()
def retrieve(
    model: TwoTower, held_out: HeldOut, counts_I: np.ndarray, item_ID: Tensor, batch_size: int, k: int = RANKS
) -> Ranking:
    """Exact retrieval for all queries by the towers; popular items where nothing is known of the user."""
    model.eval()
    device = item_ID.device
    popularity_I = torch.from_numpy(counts_I.astype(np.float32)).to(device)

    def scores(user_rows_B: np.ndarray) -> tuple[Tensor, Tensor]:
        history_BL = torch.from_numpy(held_out.seen.last(user_rows_B, model.config.num_history)).to(device)
        rows_B = torch.tensor(user_rows_B, device=device)
        user_BD = model.user_vectors(rows_B, history_BL)
        known_B = model.can_place(rows_B, history_BL)
        return torch.where(known_B[:, None], user_BD @ item_ID.T, popularity_I), known_B

    return _rank(scores, held_out, batch_size, k)


def rank_by_popularity(held_out: HeldOut, counts_I: np.ndarray, batch_size: int, k: int = RANKS) -> Ranking:
    """The floor: everybody gets the most popular items that they have not seen."""
    popularity_I = torch.from_numpy(counts_I.astype(np.float32))

    def scores(user_rows_B: np.ndarray) -> tuple[Tensor, Tensor]:
        size = len(user_rows_B)
        return popularity_I.repeat(size, 1), torch.zeros(size, dtype=torch.bool)

    return _rank(scores, held_out, batch_size, k)


@torch.inference_mode()
def rerank(reranker: Reranker, ranking: Ranking, held_out: HeldOut, batch_size: int) -> Ranking:
    """Reorders the candidates that the towers found; popular items keep their order, as at the endpoint."""
    history = held_out.seen.last(held_out.user_rows_Q, RECENT)
    parts = []
    for at in _chunks(len(ranking.rows_QK), batch_size):
        rows_BK, old_BK, by_towers_B = ranking.rows_QK[at], ranking.scores_QK[at], ranking.by_towers_Q[at]
        new_BK = reranker(*tensors(old_BK, rows_BK, history[at])).numpy()
        new_BK = np.where(by_towers_B[:, None], np.where(rows_BK < 0, -np.inf, new_BK), old_BK)
        by = order(new_BK, rows_BK)
        parts.append((np.take_along_axis(rows_BK, by, 1), np.take_along_axis(new_BK, by, 1), by_towers_B))
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _rank(scores: Scorer, held_out: HeldOut, batch_size: int, k: int) -> Ranking:
    parts = []
    for at in _chunks(len(held_out.user_rows_Q), batch_size):
        user_rows_B = held_out.user_rows_Q[at]
        scores_BI, by_towers_B = scores(user_rows_B)
        rows_BK, scores_BK = top_k(mask_seen(scores_BI, held_out.seen, user_rows_B), k)
        rows_BK = torch.where(torch.isinf(scores_BK), -1, rows_BK)
        parts.append(tuple(t.cpu().numpy() for t in (rows_BK, scores_BK, by_towers_B)))
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _keys(interactions: Any, num_items: int) -> np.ndarray:
    users = interactions["user_row"].to_numpy().astype(np.int64)
    return users * num_items + interactions["item_row"].to_numpy()
