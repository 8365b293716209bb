"""Measures a model and the baselines on the test part of a dataset, from rankings to the numbers of a report.

Shape legend: Q queries (users), M metrics, N relevant pairs, K ranks, I items (row 0 = unknown).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from torch import Tensor

from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST
from towers.evaluation import metrics
from towers.evaluation.baselines.rankings import baseline_rankings
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.decisions.placement import cold_user_slices
from towers.evaluation.diversity import ItemSimilarity, histories_of_many, sampled
from towers.evaluation.goals import GoalEvents, gives_log_odds, goal_report
from towers.evaluation.intervals import SEED, intervals
from towers.evaluation.queries import HeldOut, earlier_splits, queries_of
from towers.evaluation.ranking import Ranking, embed, rerank, retrieve
from towers.evaluation.report import NO_KNOWN_USERS, RELEVANT, RERANKED, TOWERS, Report, users_notes
from towers.evaluation.slices import Slice, deciles, hit_pairs, random_recall, recall_in, shares_by_decile, slices
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder
from towers.model.two_tower import TwoTower, all_item_vectors
from towers.reranking.calibration import Calibration
from towers.reranking.reranker import Reranker

Rankings = dict[str, Ranking]
"""Rankings by name; all rank the same queries."""

AHEAD = ("recall", "ndcg", "mrr", "hit_rate")
"""Metrics at the report's cut-off of which it says how far the towers are ahead of each baseline."""

Columns = dict[str, np.ndarray]
"""Values of each metric by user: float64 [Q], or fewer where a metric is measured on a sample."""


def accuracy(ranking: Ranking, held_out: HeldOut, num_items: int, ks: list[int]) -> Columns:
    """Recall, nDCG, MRR and hit rate of each query: {"recall@20": float64 [Q], ...}."""
    hit_QK = metrics.hits(ranking.rows_QK, held_out.relevant, num_items)
    return metrics.per_query(hit_QK, held_out.num_relevant_Q, ks)


def measure(ranking: Ranking, held_out: HeldOut, num_items: int, ks: list[int]) -> dict[str, float]:
    """Means of `accuracy` over the users, by metric; training measures them after each epoch."""
    return _means(accuracy(ranking, held_out, num_items, ks))


def _means(columns: Columns) -> dict[str, float]:
    return {name: float(column.mean()) for name, column in columns.items()}


def tower_rankings(
    model: TwoTower,
    reranker: Reranker,
    held_out: HeldOut,
    popularity_I: np.ndarray,
    batch_size: int,
    item_vectors_ID: Tensor | None = None,
    ties: TieOrder | None = None,
    left_out: np.ndarray | None = None,
) -> Rankings:
    """Rankings of the towers, and of the towers with re-ranker.

    Args:
        popularity_I: how popular each item is (`towers.model.tie_order.popularity`).
        item_vectors_ID: float32, all item vectors, if the caller has them; None computes them.
        ties: the order of items with equal scores; None is the order of rows.
        left_out: int64, the rows of items that are in no ranking; None means none.
    """
    queries = embed(model, held_out, batch_size)
    if item_vectors_ID is None:
        item_vectors_ID = all_item_vectors(model)
    found = retrieve(queries, held_out, popularity_I, item_vectors_ID, batch_size, ties=ties, left_out=left_out)
    return {
        TOWERS: found,
        RERANKED: rerank(reranker, queries, found, held_out, batch_size, ties),
    }


def evaluate(
    model: TwoTower,
    reranker: Reranker,
    dataset: PreparedDataset,
    fit_on: FittedSplits,
    config: EvaluateConfig,
    item_vectors_ID: Tensor | None = None,
    ties: TieOrder | None = None,
    popularity_I: np.ndarray | None = None,
) -> Report:
    """Measures a model and the configured baselines on the test part of its dataset.

    Args:
        fit_on: the splits that the model was fitted on; the baselines are fitted on the same.
        item_vectors_ID: float32, all item vectors, if the caller has them; None computes them.
        ties: the order of items with equal scores, in all rankings; None is the order of rows.
        popularity_I: by which users of whom nothing is known get popular items, from the towers and from baselines that
            are no popularity themselves; None means by all interactions.

    Raises:
        ConfigError: no user has a test interaction with an item that is new to them.
    """
    held_out = queries_of(dataset, config.seen, model.config.history_columns, config.max_users)
    counts_I = interaction_counts(dataset.items, fit_on)
    popular_I = counts_I if popularity_I is None else popularity_I
    baselines, notes = baseline_rankings(dataset, held_out, fit_on, config, ties, popular_I)
    towers = tower_rankings(model, reranker, held_out, popular_I, config.batch_size, item_vectors_ID, ties)
    rankings = baselines | towers
    goals = GoalEvents.of(dataset, TEST, reranker.config.goals, held_out.user_rows_Q)
    similarity = ItemSimilarity.of(histories_of_many(dataset, earlier_splits(TEST)), len(counts_I))
    columns = _columns_of(rankings, held_out, counts_I, goals, similarity, config)
    means = {name: _means(of) | _list_metrics(rankings[name], len(counts_I), config) for name, of in columns.items()}
    user_counts_U = interaction_counts(dataset.users, fit_on)
    parts = [*slices(held_out, user_counts_U, counts_I), *cold_user_slices(model, held_out, user_counts_U)]
    return Report(
        split=TEST,
        num_queries=len(held_out.user_rows_Q),
        k=config.k,
        metrics=means.pop(TOWERS),
        reranked=means.pop(RERANKED),
        baselines=means,
        intervals=_intervals(columns, config.resamples),
        lift=_lift(columns, config.resamples),
        calibration=_calibration(rankings[RERANKED], held_out, len(counts_I)) if gives_log_odds(reranker) else None,
        slices=list(_slices(rankings, held_out, parts, len(counts_I), config)),
        recommended_shares=_recommended_shares(rankings, held_out, counts_I, config.k),
        notes=[*_notes(held_out, rankings[TOWERS], reranker), *notes],
        goals=goal_report(model, reranker, rankings[TOWERS], held_out, goals, config.batch_size),
        ahead=_ahead(columns, list(baselines), config),
    )


def _notes(held_out: HeldOut, of_towers: Ranking, reranker: Reranker) -> list[str]:
    """What a reader should know of the users who were measured."""
    is_idle = reranker.is_fitted and not of_towers.by_towers_Q.any()
    return [*users_notes(len(held_out.user_rows_Q), held_out.sampled_from), *([NO_KNOWN_USERS] if is_idle else [])]


def _recommended_shares(rankings: Rankings, held_out: HeldOut, counts_I: np.ndarray, k: int) -> dict[str, Any]:
    """The shares of the first k ranks, and of the relevant items, that each decile of the items by popularity has."""
    times = {name: metrics.times_recommended(r.rows_QK, k, len(counts_I)) for name, r in rankings.items()}
    times[RELEVANT] = np.bincount(held_out.relevant[1], minlength=len(counts_I))
    decile_I = deciles(counts_I)
    return {name: shares_by_decile(times_I, decile_I) for name, times_I in times.items()}


def _columns_of(
    rankings: Rankings,
    held_out: HeldOut,
    counts_I: np.ndarray,
    goals: GoalEvents,
    similarity: ItemSimilarity,
    config: EvaluateConfig,
) -> dict[str, Columns]:
    """The values by user of all metrics that are means over users; diversity is measured on a sample of the users."""
    columns = {}
    for name, ranking in rankings.items():
        rows_QK = ranking.rows_QK
        columns[name] = accuracy(ranking, held_out, len(counts_I), list(config.ks))
        columns[name] |= {f"novelty@{k}": metrics.novelty(rows_QK, counts_I, k) for k in config.ks}
        columns[name] |= {f"diversity@{config.k}": similarity.diversity(sampled(rows_QK), config.k)}
        columns[name] |= goals.values(held_out.user_rows_Q, rows_QK, config.ks)
    return columns


def _list_metrics(ranking: Ranking, num_items: int, config: EvaluateConfig) -> dict[str, float]:
    """Metrics of all lists together, which are not means over users: coverage and Gini."""
    values: dict[str, float] = {}
    for k in config.ks:
        times_I = metrics.times_recommended(ranking.rows_QK, k, num_items)
        values |= {f"coverage@{k}": metrics.coverage(times_I), f"gini@{k}": metrics.gini(times_I)}
    return values


def _intervals(columns: dict[str, Columns], resamples: int) -> dict[str, dict[str, list[float]]]:
    """[low, high] of each ranking's metrics; columns of one length are resampled together."""
    found: dict[str, dict[str, list[float]]] = {ranking: {} for ranking in columns}
    flat = [(ranking, metric, column) for ranking, of in columns.items() for metric, column in of.items()]
    for length in {len(column) for _, _, column in flat}:
        group = [entry for entry in flat if len(entry[2]) == length]
        bounds_M2 = intervals(np.stack([column for _, _, column in group], axis=1), SEED, resamples)
        for (ranking, metric, _), bounds in zip(group, bounds_M2.tolist(), strict=True):
            found[ranking][metric] = bounds
    return found


def _lift(columns: dict[str, Columns], resamples: int) -> dict[str, list[float]]:
    """[mean, low, high] of what re-ranking changes, for each metric that is measured on every user."""
    names = [name for name in columns[TOWERS] if not name.startswith("diversity")]  # measured on a sample
    changes = [columns[RERANKED][name] - columns[TOWERS][name] for name in names]
    return dict(zip(names, _means_with_bounds(changes, resamples), strict=True))


def _ahead(
    columns: dict[str, Columns], baselines: Sequence[str], config: EvaluateConfig
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """`Report.ahead`: all differences are resampled together, so that they can be compared."""
    metrics = [name for name in (f"{metric}@{config.k}" for metric in AHEAD) if name in columns[TOWERS]]
    pairs = list(product((TOWERS, RERANKED), baselines, metrics))
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    changes = [columns[ranking][name] - columns[baseline][name] for ranking, baseline, name in pairs]
    for (ranking, baseline, name), bounds in zip(pairs, _means_with_bounds(changes, config.resamples), strict=True):
        found.setdefault(ranking, {}).setdefault(baseline, {})[name] = bounds
    return found


def _means_with_bounds(changes: Sequence[np.ndarray], resamples: int) -> list[list[float]]:
    """[mean, low, high] of each column of differences between two rankings of the same users."""
    if not changes:
        return []
    change_QM = np.stack(changes, axis=1)
    bounds_M2 = intervals(change_QM, SEED, resamples).tolist()
    return [[mean, *bounds] for mean, bounds in zip(change_QM.mean(0).tolist(), bounds_M2, strict=True)]


def _calibration(ranking: Ranking, held_out: HeldOut, num_items: int) -> dict[str, Any] | None:
    """Calibration on the candidates that the towers retrieved, None without any: unknown users' have no log-odds."""
    there_QK = (ranking.rows_QK > 0) & ranking.by_towers_Q[:, None]
    if not there_QK.any():
        return None
    hit_QK = metrics.hits(ranking.rows_QK, held_out.relevant, num_items)
    probability_N = 1 / (1 + np.exp(-ranking.scores_QK[there_QK].astype(np.float64)))
    return Calibration.of(probability_N, hit_QK[there_QK]).as_json()


def _slices(
    rankings: Rankings, held_out: HeldOut, parts: Iterable[Slice], num_items: int, config: EvaluateConfig
) -> Iterator[dict[str, Any]]:
    """Recall of every ranking, and of random recommendations, in each slice, as JSON."""
    hits = {name: hit_pairs(ranking, held_out, num_items, config.k) for name, ranking in rankings.items()}
    random_Q = random_recall(held_out, num_items, config.k)
    for part in parts:
        recall_QM = np.stack([recall_in(part, hit_N, held_out) for hit_N in hits.values()], axis=1)
        there_Q = ~np.isnan(recall_QM[:, 0])
        recall_QM = recall_QM[there_Q]
        bounds_M2 = intervals(recall_QM, SEED, config.resamples)
        yield {
            "group": part.group,
            "name": part.name,
            "num_users": int(there_Q.sum()),
            "num_relevant": int(part.pairs_N.sum()),
            "recall": {"random": float(random_Q[there_Q].mean())}
            | dict(zip(hits, recall_QM.mean(0).tolist(), strict=True)),
            "intervals": dict(zip(hits, bounds_M2.tolist(), strict=True)),
        }
