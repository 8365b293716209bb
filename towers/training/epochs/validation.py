"""Validation by all workers: each ranks the whole catalogue for its share of the queries.

No worker holds all item vectors: they come in blocks, and each query keeps its best items so far.

Shape legend: Q queries, N items of a block, T the same, padded, D dimension, I items (row 0 = unknown), K ranks.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from towers.evaluation.config import RANKS
from towers.evaluation.measure import accuracy
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import SAME_SUMS, QueryVectors, Ranking, batches_of, embed
from towers.evaluation.retrieval import BestColumns, ScoreColumns
from towers.model.item_tower import item_vector_blocks
from towers.model.tie_order import TieOrder
from towers.model.two_tower import TwoTower
from towers.training.distributed import rank, sharded_tables, sum_over_workers, world_size


@torch.inference_mode()
def validation_metrics(
    model: TwoTower, queries: HeldOut, counts_I: np.ndarray, ties: TieOrder, ks: Sequence[int], batch_size: int
) -> dict[str, float]:
    """Means of recall, nDCG, MRR and hit rate at each of `ks` over all queries, the same on every worker.

    Every worker must call it with the same queries, of which there must be one.

    Args:
        counts_I: interactions of each item that the model is fitted on.
        ties: the order of items with equal scores. That of their ids would favour the same ones in every training.
    """
    mine = np.arange(rank(), len(queries.user_rows_Q), world_size())
    own = queries if world_size() == 1 else queries.take(mine)
    is_sharded = bool(sharded_tables(model))  # then a lookup takes all workers: each looks up what all of them need
    vectors = embed(model, queries, batch_size).take(mine) if is_sharded else embed(model, own, batch_size)
    blocks = item_vector_blocks(model, rows_I=torch.from_numpy(ties.rows_I))
    found = retrieve_from_blocks(vectors, own, counts_I, ties, blocks, batch_size)
    columns = accuracy(found, own, len(counts_I), list(ks))
    sums = torch.tensor([*(column.sum() for column in columns.values()), len(mine)], dtype=torch.float64)
    *totals, count = sum_over_workers(sums.to(vectors.known_Q.device)).tolist()
    return {name: total / count for name, total in zip(columns, totals, strict=True)}


@torch.inference_mode()
def places_any(model: TwoTower, queries: HeldOut, batch_size: int) -> bool:
    """Whether the towers know a user of these queries; others get popular items, whatever the towers have learnt."""
    device = model.item_places_N.device
    for at in batches_of(len(queries.user_rows_Q), batch_size):
        rows_B = queries.user_rows_Q[at]
        history_BL = queries.history.last(rows_B, model.config.num_history)
        if model.is_known(*(torch.tensor(rows, device=device) for rows in (rows_B, history_BL))).any():
            return True
    return False


def retrieve_from_blocks(
    vectors: QueryVectors,
    queries: HeldOut,
    counts_I: np.ndarray,
    ties: TieOrder,
    item_blocks: Iterable[Tensor],
    batch_size: int,
    k: int = RANKS,
) -> Ranking:
    """What `towers.evaluation.ranking.retrieve` finds, of item vectors in blocks, float32 [N, D] each.

    Args:
        item_blocks: those of `ties.rows_I`, in this order.
    """
    columns, k = ScoreColumns.of(ties), min(k, len(counts_I))
    counts_T = counts_I[ties.rows_I].astype(np.float32)
    batches = [
        (at, columns.seen_cells(queries.seen, queries.user_rows_Q[at]))
        for at in batches_of(len(queries.user_rows_Q), batch_size)
    ]
    best, start = [BestColumns(k) for _ in batches], 0
    for block_ND in item_blocks:
        block_TD = functional.pad(block_ND, (0, 0, 0, -len(block_ND) % SAME_SUMS))
        popularity_N = torch.from_numpy(counts_T[start : start + len(block_ND)]).to(block_ND.device)
        for (at, seen_cells), of_batch in zip(batches, best, strict=True):
            scores_BN = (vectors.user_QD[at] @ block_TD.T)[:, : len(block_ND)]
            scores_BN[~vectors.known_Q[at]] = popularity_N
            of_batch.add(columns.mask_block(scores_BN, start, seen_cells))
        start += len(block_ND)
    found = [columns.rows_of(of_batch) for of_batch in best]
    rows_QK = torch.cat([torch.zeros(0, k, dtype=torch.int64), *(rows.cpu() for rows, _ in found)])
    scores_QK = torch.cat([torch.zeros(0, k), *(scores.cpu() for _, scores in found)])
    return Ranking(rows_QK.numpy(), scores_QK.numpy(), vectors.known_Q.cpu().numpy())
