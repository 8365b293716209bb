"""Rankings of the whole catalogue for held-out queries: by the towers, by the re-ranker, and by popularity.

Every item is a candidate; items that a user has already seen are masked. A user who is unknown to the towers
(`TwoTower.is_known`) gets popular items, as at the endpoint.

Items with equal scores come in the order of `towers.model.tie_order.TieOrder`, as at the endpoint.

Shape legend: Q queries, B queries of a batch, I items (row 0 = unknown), T columns of scores (`ScoreColumns`),
D dimension, K ranks, L history length, H most popular items.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from towers.evaluation.config import RANKS
from towers.evaluation.queries import HeldOut
from towers.evaluation.retrieval import BestColumns, ScoreColumns
from towers.model.context import Context
from towers.model.history.moments import Moments
from towers.model.tie_order import TieOrder, most_popular
from towers.model.two_tower import TwoTower
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.reranker import RECENT, Reranker

SAME_SUMS = 64
"""Item vectors are padded to a multiple of this number, because a matrix product may sum the last columns in another
order: identical vectors would then differ in their last bit."""

BLOCK_ITEMS = 1 << 16
"""Items whose scores are in memory at a time for a batch of queries: a multiple of SAME_SUMS."""

MOST_SCORED = 1 << 24
"""Pairs of a user and a popular item that are looked at together, in some 20 bytes each: a robot may have seen all."""

Scorer = Callable[[slice], tuple[Iterable[Tensor], Tensor]]
"""Maps a slice of queries to the scores of all items, as blocks of columns one after the other [B, T of the block], and
to whether the towers know the user, bool [B]."""


@dataclass(frozen=True)
class Ranking:
    """The best items of every query.

    Attributes:
        rows_QK: int64, item rows, best first; -1 where no candidate is left.
        scores_QK: float32, the scores of these items.
        by_towers_Q: bool; False where the items are popular ones, because the towers do not know the user.
    """

    rows_QK: np.ndarray
    scores_QK: np.ndarray
    by_towers_Q: np.ndarray


@dataclass(frozen=True)
class QueryVectors:
    """The user vector of every query, on the device of the towers.

    Attributes:
        user_QD: float32.
        known_Q: bool; False where the towers do not know the user.
    """

    user_QD: Tensor
    known_Q: Tensor

    def take(self, kept: np.ndarray) -> "QueryVectors":
        """The queries at the indices `kept`, int64."""
        at = torch.from_numpy(kept).to(self.known_Q.device)
        return QueryVectors(self.user_QD[at], self.known_Q[at])


@torch.inference_mode()
def embed(model: TwoTower, held_out: HeldOut, batch_size: int) -> QueryVectors:
    """The user vectors of all queries, by their users' histories before the split and by their contexts.

    Queries with histories of about the same length are embedded together, and padded to the longest of them alone.

    Raises:
        ValueError: the towers need times or types of the histories, and `held_out` was made without.
    """
    model.eval()
    device, num_history, history = model.item_ids.table.weight.device, model.config.num_history, held_out.history
    lengths_Q = np.minimum(history.lengths_of(held_out.user_rows_Q), num_history)
    by_length_Q = np.argsort(lengths_Q, kind="stable")
    parts = []
    for batch in batches_of(len(by_length_Q), batch_size):
        at = by_length_Q[batch]
        user_rows_B, length = held_out.user_rows_Q[at], min(max(int(lengths_Q[at[-1]]), 1), num_history)
        history_BL, rows_B = (torch.tensor(a, device=device) for a in (history.last(user_rows_B, length), user_rows_B))
        context_BC = None
        if model.context_values is not None and held_out.context_Q is not None:
            context_BC = torch.from_numpy(model.context.encode(held_out.context_Q.take(pa.array(at)))).to(device)
        moments = Moments.latest(history, user_rows_B, length, device)
        vectors_BD = model.user_vectors(rows_B, history_BL, context_BC, moments)
        parts.append((vectors_BD, model.is_known(rows_B, history_BL)))
    if not parts:
        return QueryVectors(
            torch.zeros(0, model.config.embedding_dim, device=device), torch.zeros(0, device=device) > 0
        )
    return QueryVectors(*(torch.cat(column) for column in zip(*parts, strict=True))).take(np.argsort(by_length_Q))


@torch.inference_mode()
def retrieve(
    queries: QueryVectors,
    held_out: HeldOut,
    popularity_I: np.ndarray,
    item_ID: Tensor,
    batch_size: int,
    k: int = RANKS,
    ties: TieOrder | None = None,
    left_out: np.ndarray | None = None,
) -> Ranking:
    """Exact retrieval for all queries: by the towers, or of popular items where they do not know the user.

    A large catalogue is scored in blocks of the same shape, so that sums are taken in the same order in each.

    Args:
        popularity_I: how popular each item is (`towers.model.tie_order.popularity`).
        item_ID: float32, all item vectors.
        ties: the order of items with equal scores; None is the order of rows.
        left_out: int64, the rows of items that nobody gets; None means none.
    """
    block = BLOCK_ITEMS if len(item_ID) > BLOCK_ITEMS else SAME_SUMS
    columns = ScoreColumns.of(ties or TieOrder.of(len(item_ID), None), pad_to=block)
    popular_I = torch.from_numpy(popularity_I.astype(np.float32)).to(item_ID.device)
    row_T = columns.row_T.to(item_ID.device)

    def blocks(at: slice) -> Iterator[Tensor]:
        for rows_T in row_T.split(BLOCK_ITEMS):
            scores_BT = queries.user_QD[at] @ item_ID[rows_T].T
            scores_BT[~queries.known_Q[at]] = popular_I[rows_T]
            if left_out is not None:
                scores_BT[:, torch.isin(rows_T, torch.from_numpy(left_out).to(rows_T.device))] = -torch.inf
            yield scores_BT

    return rank(lambda at: (blocks(at), queries.known_Q[at]), held_out, batch_size, columns, k)


def rank_by_popularity(
    held_out: HeldOut, popularity_I: np.ndarray, batch_size: int, k: int = RANKS, ties: TieOrder | None = None
) -> Ranking:
    """Every user gets the most popular items that they have not seen.

    Only the head of the catalogue is scored: k items more than the longest history of the users who are ranked at a
    time, so that k new ones remain for all. These have histories of about the same length.
    """
    lengths_Q = held_out.seen.lengths_of(held_out.user_rows_Q)
    best_H = most_popular(popularity_I, ties)[: k + int(lengths_Q.max(initial=0))]
    position_I = np.full(len(popularity_I), len(best_H))
    position_I[best_H] = np.arange(len(best_H))
    rows_QK = np.full((len(lengths_Q), min(k, len(popularity_I))), -1, dtype=np.int64)
    by_length_Q = np.argsort(lengths_Q, kind="stable")
    while len(by_length_Q):
        at = by_length_Q[:batch_size]
        at = at[lengths_Q[at] <= 2 * (k + lengths_Q[at[0]])]
        at = at[: max(MOST_SCORED // (k + int(lengths_Q[at[-1]])), 1)]
        rows_QK[at] = _first_unseen(best_H[: k + int(lengths_Q[at[-1]])], position_I, held_out, at, k)
        by_length_Q = by_length_Q[len(at) :]
    scores_QK = np.where(rows_QK < 0, -np.inf, popularity_I[rows_QK]).astype(np.float32)
    return Ranking(rows_QK, scores_QK, np.zeros(len(rows_QK), dtype=bool))


def _first_unseen(best_H: np.ndarray, position_I: np.ndarray, held_out: HeldOut, at: np.ndarray, k: int) -> np.ndarray:
    """int64 [B, K]: the first k of best_H that each user of a batch has not seen; -1 where there are fewer.

    Args:
        position_I: of each item among the most popular ones, of which `best_H` are the first.
    """
    user_rows_B = held_out.user_rows_Q[at]
    owner, items = held_out.seen.of_users(user_rows_B)
    new_BH = np.ones((len(user_rows_B), len(best_H) + 1), dtype=bool)
    new_BH[owner, np.minimum(position_I[items], len(best_H))] = False
    rank_BH = np.cumsum(new_BH[:, :-1], axis=1) - 1
    query, position = np.nonzero(new_BH[:, :-1] & (rank_BH < k))
    rows_BK = np.full((len(user_rows_B), min(k, len(position_I))), -1, dtype=np.int64)
    rows_BK[query, rank_BH[query, position]] = best_H[position]
    return rows_BK


def lists_of(queries: QueryVectors, ranking: Ranking, held_out: HeldOut, context: Context) -> CandidateLists:
    """The input of the re-ranker for all queries: the candidates in `ranking`, the users' latest items and context."""
    recent = held_out.history.last(held_out.user_rows_Q, RECENT)
    context_QC = None if held_out.context_Q is None else context.encode(held_out.context_Q)
    return CandidateLists.of(queries.user_QD.cpu().numpy(), ranking.scores_QK, ranking.rows_QK, recent, context_QC)


@torch.inference_mode()
def rerank(
    reranker: Reranker,
    queries: QueryVectors,
    ranking: Ranking,
    held_out: HeldOut,
    batch_size: int,
    ties: TieOrder | None = None,
) -> Ranking:
    """Re-orders the candidates that the towers retrieved; popular items keep their order, as at the endpoint."""
    ties = ties or TieOrder.of(len(reranker.item_vectors_ID), None)
    lists, parts = lists_of(queries, ranking, held_out, reranker.context), []
    for at in batches_of(len(ranking.rows_QK), batch_size):
        rows_BK, old_BK, by_towers_B = ranking.rows_QK[at], ranking.scores_QK[at], ranking.by_towers_Q[at]
        new_BK = reranker(lists[at]).numpy()
        new_BK = np.where(rows_BK < 0, -np.inf, new_BK)
        in_place_BK = np.broadcast_to(np.arange(rows_BK.shape[1]), rows_BK.shape)
        by = np.where(by_towers_B[:, None], ties.best_first(rows_BK, new_BK), in_place_BK)
        new_BK = np.where(by_towers_B[:, None], new_BK, old_BK)
        parts.append((np.take_along_axis(rows_BK, by, 1), np.take_along_axis(new_BK, by, 1), by_towers_B))
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def rank(
    scores: Scorer, held_out: HeldOut, batch_size: int, columns: ScoreColumns, k: int = RANKS, threads: int = 1
) -> Ranking:
    """Ranks, for every query, the k best items by `scores` that the user has not seen.

    Args:
        columns: the items that the columns of the scores stand for.
        threads: batches scored at a time, for scorers that release the interpreter's lock and use one core each.
    """

    k = min(k, len(columns.column_I))

    def ranked(at: slice) -> tuple[np.ndarray, ...]:
        blocks, by_towers_B = scores(at)
        seen_cells, best = columns.seen_cells(held_out.seen, held_out.user_rows_Q[at]), BestColumns(k)
        for scores_BT in blocks:
            best.add(columns.mask_block(scores_BT, best.start, seen_cells))
        rows_BK, scores_BK = columns.rows_of(best)
        return tuple(t.cpu().numpy() for t in (rows_BK, scores_BK, by_towers_B))

    chunks = batches_of(len(held_out.user_rows_Q), batch_size)
    if threads == 1:
        parts = [ranked(at) for at in chunks]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(ranked, chunks))
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def batches_of(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` queries each, which cover `count` of them."""
    return (slice(start, start + size) for start in range(0, count, size))
