"""Measuring a model on the test part of its dataset, beside floors: rankings to the numbers of a report.

Shape legend: Q queries, M columns, N relevant pairs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST
from towers.evaluation import metrics
from towers.evaluation.baselines import Floor, item_filter, rank_by_filter, recent_counts
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.diversity import ItemLikeness, sampled
from towers.evaluation.intervals import intervals
from towers.evaluation.queries import HeldOut, queries_of
from towers.evaluation.ranking import Ranking, embed, rank_by_popularity, rerank, retrieve
from towers.evaluation.report import RELEVANT, RERANKED, TOWERS, Report
from towers.evaluation.slices import by_chance, hit_pairs, recall_in, shares_by_tenth, slices, tenths
from towers.model.build import FitOn, fit_counts
from towers.model.two_tower import TwoTower, all_item_vectors
from towers.reranking.calibration import Calibration
from towers.reranking.reranker import Reranker

SEED = 0  # of the bootstrap: the same measurement, the same intervals
Rankings = dict[str, Ranking]


def accuracy(ranking: Ranking, held_out: HeldOut, num_items: int, ks: list[int]) -> dict[str, np.ndarray]:
    """Recall, nDCG, MRR and hit rate of each query: {"recall@20": float64 [Q], ...}."""
    hit_QK = metrics.hits(ranking.rows_QK, held_out.relevant, num_items)
    return metrics.per_query(hit_QK, held_out.num_relevant_Q, ks)


def measure(ranking: Ranking, held_out: HeldOut, num_items: int, ks: list[int]) -> dict[str, float]:
    """Means of `accuracy`: what is looked at after each epoch."""
    return _means(accuracy(ranking, held_out, num_items, ks))


def _means(columns: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(column.mean()) for name, column in columns.items()}


def tower_rankings(
    model: TwoTower, reranker: Reranker, held_out: HeldOut, counts_I: np.ndarray, batch_size: int
) -> Rankings:
    """What the towers rank, and the same re-ranked."""
    queries = embed(model, held_out, batch_size)
    found = retrieve(queries, held_out, counts_I, all_item_vectors(model), batch_size)
    return {
        TOWERS: found,
        RERANKED: rerank(reranker, queries, found, held_out, batch_size),
    }


def evaluate(
    model: TwoTower, reranker: Reranker, dataset: PreparedDataset, fit_on: FitOn, config: EvaluateConfig
) -> Report:
    """Measures a model, and the floors, on the test part of its dataset; `fit_on` is what the model was fitted on."""
    held_out, counts_I = queries_of(dataset), fit_counts(dataset.items, fit_on)
    floors, notes = _floors(dataset, held_out, fit_on, config)
    rankings = floors | tower_rankings(model, reranker, held_out, counts_I, config.batch_size)
    likeness = ItemLikeness.of(held_out.seen, len(counts_I))
    columns = {name: _columns(ranking, held_out, counts_I, likeness, config) for name, ranking in rankings.items()}
    means = {name: _means(of) | _spread(rankings[name], len(counts_I), config) for name, of in columns.items()}
    tenth_I = tenths(counts_I)
    times = {name: metrics.times_shown(r.rows_QK, config.k, len(counts_I)) for name, r in rankings.items()}
    times[RELEVANT] = np.bincount(held_out.relevant[1], minlength=len(counts_I))
    return Report(
        split=TEST,
        num_queries=len(held_out.user_rows_Q),
        k=config.k,
        metrics=means.pop(TOWERS),
        reranked=means.pop(RERANKED),
        floors=means,
        intervals=_intervals(columns, config.resamples),
        lift=_lift(columns, config.resamples),
        calibration=_calibration(rankings[RERANKED], held_out, len(counts_I)) if reranker.is_fitted else None,
        slices=list(_slices(rankings, held_out, fit_counts(dataset.users, fit_on), counts_I, config)),
        shown={name: shares_by_tenth(times_I, tenth_I) for name, times_I in times.items()},
        notes=notes,
    )


def _floors(
    dataset: PreparedDataset, held_out: HeldOut, fit_on: FitOn, config: EvaluateConfig
) -> tuple[Rankings, list[str]]:
    """The configured floors, and what is to be said of them."""
    counts_I, rankings, notes = fit_counts(dataset.items, fit_on), {}, []
    for floor in config.floors:
        match floor:
            case Floor.popularity:
                rankings[floor.value] = rank_by_popularity(held_out, counts_I, config.batch_size)
            case Floor.recent_popularity:
                recent_I = recent_counts(dataset, fit_on.splits, config.recent_share, len(counts_I))
                if recent_I is None:
                    notes.append("no recent popularity: the log has no clock")
                else:
                    rankings[floor.value] = rank_by_popularity(held_out, recent_I, config.batch_size)
            case Floor.item_item:
                weights_II, every = item_filter(dataset.sequences(*fit_on.splits), len(counts_I))
                rankings[floor.value] = rank_by_filter(weights_II, held_out, counts_I, config.batch_size)
                if every > 1:
                    notes.append(f"item-item filter fitted on one user in {every}: more pairs than fit into memory")
    return rankings, notes


def _columns(
    ranking: Ranking, held_out: HeldOut, counts_I: np.ndarray, likeness: ItemLikeness, config: EvaluateConfig
) -> dict[str, np.ndarray]:
    """All that is a mean over users, by metric: float64 [Q], of diversity for a sample of them."""
    columns = accuracy(ranking, held_out, len(counts_I), list(config.ks))
    columns |= {f"novelty@{k}": metrics.novelty(ranking.rows_QK, counts_I, k) for k in config.ks}
    return columns | {f"diversity@{config.k}": likeness.diversity(sampled(ranking.rows_QK), config.k)}


def _spread(ranking: Ranking, num_items: int, config: EvaluateConfig) -> dict[str, float]:
    """What is a property of all lists together."""
    values: dict[str, float] = {}
    for k in config.ks:
        times_I = metrics.times_shown(ranking.rows_QK, k, num_items)
        values |= {f"coverage@{k}": metrics.coverage(times_I), f"gini@{k}": metrics.gini(times_I)}
    return values


def _intervals(columns: dict[str, dict[str, np.ndarray]], resamples: int) -> dict[str, dict[str, list[float]]]:
    """Columns of one length are resampled together."""
    found: dict[str, dict[str, list[float]]] = {ranking: {} for ranking in columns}
    flat = [(ranking, metric, column) for ranking, of in columns.items() for metric, column in of.items()]
    for length in {len(column) for _, _, column in flat}:
        group = [entry for entry in flat if len(entry[2]) == length]
        bounds_M2 = intervals(np.stack([column for _, _, column in group], axis=1), SEED, resamples)
        for (ranking, metric, _), bounds in zip(group, bounds_M2.tolist(), strict=True):
            found[ranking][metric] = bounds
    return found


def _lift(columns: dict[str, dict[str, np.ndarray]], resamples: int) -> dict[str, list[float]]:
    """What re-ranking changes in each metric that is measured of every user."""
    names = [name for name in columns[TOWERS] if not name.startswith("diversity")]  # measured of a sample
    change_QM = np.stack([columns[RERANKED][name] - columns[TOWERS][name] for name in names], axis=1)
    bounds_M2 = intervals(change_QM, SEED, resamples)
    means = change_QM.mean(0).tolist()
    return {name: [mean, *bounds] for name, mean, bounds in zip(names, means, bounds_M2.tolist(), strict=True)}


def _calibration(ranking: Ranking, held_out: HeldOut, num_items: int) -> dict[str, Any]:
    """Of the candidates that the towers found; those of unknown users have no log-odds."""
    there_QK = (ranking.rows_QK > 0) & ranking.by_towers_Q[:, None]
    hit_QK = metrics.hits(ranking.rows_QK, held_out.relevant, num_items)
    probability_N = 1 / (1 + np.exp(-ranking.scores_QK[there_QK].astype(np.float64)))
    return Calibration.of(probability_N, hit_QK[there_QK]).as_json()


def _slices(
    rankings: Rankings, held_out: HeldOut, user_counts_U: np.ndarray, counts_I: np.ndarray, config: EvaluateConfig
) -> Iterator[dict[str, Any]]:
    hits = {name: hit_pairs(ranking, held_out, len(counts_I), config.k) for name, ranking in rankings.items()}
    chance_Q = by_chance(held_out, len(counts_I), config.k)
    for part in slices(held_out, user_counts_U, counts_I):
        recall_QM = np.stack([recall_in(part, hit_N, held_out) for hit_N in hits.values()], axis=1)
        there_Q = ~np.isnan(recall_QM[:, 0])
        recall_QM = recall_QM[there_Q]
        bounds_M2 = intervals(recall_QM, SEED, config.resamples)
        yield {
            "group": part.group,
            "name": part.name,
            "num_users": int(there_Q.sum()),
            "num_relevant": int(part.pairs_N.sum()),
            "recall": {"random": float(chance_Q[there_Q].mean())}
            | dict(zip(hits, recall_QM.mean(0).tolist(), strict=True)),
            "intervals": dict(zip(hits, bounds_M2.tolist(), strict=True)),
        }
