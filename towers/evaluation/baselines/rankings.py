"""Baselines, by their names in the config. A model that is worse than one of them is of no use.

Shape legend: B queries of a batch, Q queries, U users, I items (row 0 = unknown), N interactions, K ranks.
"""

import numpy as np
import torch
from torch import Tensor

from data.dataset.prepared import PreparedDataset
from towers.evaluation.baselines.item_filter import fitted_on, item_filter, rank_by_filter
from towers.evaluation.baselines.tuning import Tuner
from towers.evaluation.config import RANKS, Baseline, EvaluateConfig, SeenItems
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, rank, rank_by_popularity
from towers.evaluation.recent_popularity import recent_counts
from towers.evaluation.retrieval import ScoreColumns
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder


def baseline_rankings(
    dataset: PreparedDataset,
    held_out: HeldOut,
    fit_on: FittedSplits,
    config: EvaluateConfig,
    ties: TieOrder | None,
    popular_I: np.ndarray,
) -> tuple[dict[str, Ranking], list[str]]:
    """Rankings of the configured baselines, and notes for the reader of the report.

    Args:
        popular_I: how popular each item is where nothing else is known: for the users of whom a baseline knows nothing,
            and between items that it scores alike.
    """
    counts_I, rankings, notes = interaction_counts(dataset.items, fit_on), {}, []
    tuner = Tuner(dataset, held_out, fit_on, config, ties, popular_I)
    for baseline in config.baselines:
        match baseline:
            case Baseline.popularity:
                rankings[baseline.value] = rank_by_popularity(held_out, counts_I, config.batch_size, ties=ties)
            case Baseline.recent_popularity:
                recent_I = recent_counts(dataset, fit_on.splits, config.recent_share, len(counts_I))
                if recent_I is None:
                    notes.append("no recent popularity: the log has no timestamps")
                else:
                    rankings[baseline.value] = rank_by_popularity(held_out, recent_I, config.batch_size, ties=ties)
            case Baseline.item_item:
                weights_II, every = item_filter(dataset.sequences(*fit_on.splits), len(counts_I))
                rankings[baseline.value] = rank_by_filter(weights_II, held_out, popular_I, config.batch_size, ties=ties)
                if every > 1:
                    notes.append(f"item-item filter {fitted_on(every)}")
            case Baseline.item_item_tuned | Baseline.ease | Baseline.ials:
                found, note = getattr(tuner, baseline.name)()
                rankings |= {} if found is None else {baseline.value: found}
                notes.append(note)
            case Baseline.own_items if config.seen is SeenItems.keep:
                rankings[baseline.value] = rank_by_own_items(held_out, popular_I, config.batch_size, ties=ties)
    return rankings, notes


def rank_by_own_items(
    held_out: HeldOut, popular_I: np.ndarray, batch_size: int, k: int = RANKS, ties: TieOrder | None = None
) -> Ranking:
    """Ranks items by how often the user has had them, then by popularity: the baseline for repeated consumption."""
    ties, history = ties or TieOrder.of(len(popular_I), None), held_out.history
    tie_T = torch.from_numpy((popular_I / (popular_I.max() + 1.0)).astype(np.float32)[ties.rows_I])
    column_I = torch.from_numpy(ties.rank_I)

    def scores(at: slice) -> tuple[list[Tensor], Tensor]:
        owner_N, items_N = (torch.from_numpy(a.astype(np.int64)) for a in history.of_users(held_out.user_rows_Q[at]))
        scores_BT = tie_T.repeat(len(held_out.user_rows_Q[at]), 1)
        scores_BT.index_put_((owner_N, column_I[items_N]), torch.ones(len(owner_N)), accumulate=True)
        return [scores_BT], torch.zeros(len(scores_BT), dtype=torch.bool)

    return rank(scores, held_out, batch_size, ScoreColumns.of(ties), k)
