"""What is measured of a model on the test part, beside popularity: a table for people, the same numbers as JSON."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from data.prepared import PreparedDataset
from data.split import TEST
from towers import metrics
from towers.ranking import RANKS, HeldOut, Ranking, queries_of, rank_by_popularity, rerank, retrieve
from towers.reranker import Reranker
from towers.two_tower import TwoTower, all_item_vectors

METRICS = ("recall", "ndcg", "mrr", "hit_rate", "coverage")


@dataclass(kw_only=True, slots=True)
class EvaluateConfig:
    """What is reported.

    Attributes:
        ks: cut-offs of the metrics, at most 100.
        batch_size: users scored at a time.
    """

    ks: list[int] = field(default_factory=lambda: [5, 10, 20, 50])
    batch_size: int = 512

    def __post_init__(self) -> None:
        if not self.ks or not all(1 <= k <= RANKS for k in self.ks):
            raise ValueError(f"evaluate.ks: {list(self.ks)} must be cut-offs between 1 and {RANKS}")
        if self.batch_size < 1:
            raise ValueError(f"evaluate.batch_size: {self.batch_size} must be at least 1")


def measure(ranking: Ranking, held_out: HeldOut, num_items: int, ks: list[int]) -> dict[str, float]:
    """Means over the queries, and coverage: {"recall@20": ..., "coverage@20": ...}."""
    hit_QK = metrics.hits(ranking.rows_QK, held_out.relevant, num_items)
    values = metrics.per_query(hit_QK, held_out.num_relevant_Q, ks)
    means = {name: float(column.mean()) for name, column in values.items()}
    return means | {f"coverage@{k}": metrics.coverage(ranking.rows_QK, k, num_items) for k in ks}


@dataclass(frozen=True)
class Report:
    """Metrics of the towers, of towers and re-ranker, and of the floor, by the same keys."""

    split: str
    num_queries: int
    metrics: dict[str, float]
    reranked: dict[str, float]
    floors: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        names = ("split", "num_queries", "metrics", "reranked", "floors")
        return {name: getattr(self, name) for name in names}

    def table(self, title: str) -> Table:
        table = Table(title=f"{title}: {self.split} part, {self.num_queries:,} users, whole catalogue")
        for column in ("metric", "popularity", "towers", "towers + re-ranker", "towers / popularity"):
            table.add_column(column, justify="left" if column == "metric" else "right")
        for name, value in sorted(self.metrics.items(), key=_metric_order):
            floor = self.floors[name]
            ratio = f"{value / floor:.2f}x" if floor else "-"
            table.add_row(name, f"{floor:.4f}", f"{value:.4f}", f"{self.reranked[name]:.4f}", ratio)
        return table


def report_of(manifest: dict[str, Any]) -> Report:
    """The report that a checkpoint or release carries."""
    return Report(*(manifest[name] for name in ("split", "num_queries", "metrics", "reranked", "floors")))


def evaluate(
    model: TwoTower, reranker: Reranker, dataset: PreparedDataset, counts_I: np.ndarray, config: EvaluateConfig
) -> Report:
    """Measures a model on the test part of its dataset."""
    held_out = queries_of(dataset)
    num_items, ks = len(dataset.items.ids), list(config.ks)
    found = retrieve(model, held_out, counts_I, all_item_vectors(model), config.batch_size)
    reranked = rerank(reranker, found, held_out, config.batch_size)
    floor = rank_by_popularity(held_out, counts_I, config.batch_size)
    measured = [measure(ranking, held_out, num_items, ks) for ranking in (found, reranked, floor)]
    return Report(TEST, len(held_out.user_rows_Q), *measured)


def _metric_order(entry: tuple[str, float]) -> tuple[int, int]:
    name, _, k = entry[0].partition("@")
    return METRICS.index(name), int(k)
