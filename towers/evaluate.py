"""Full-catalogue evaluation beside popularity: `python -m towers.evaluate checkpoint=...`.

Every user with a held-out interaction is a query; every item is a candidate; items already seen are masked. A user of
whom nothing is known gets popular items, here as at the endpoint.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from data.batches import Sequences
from data.prepared import PreparedDataset
from data.split import TEST, TRAIN, VALIDATION
from towers import metrics
from towers.reranker import RECENT, Reranker, order, tensors
from towers.retrieval import mask_seen, top_k
from towers.two_tower import TwoTower, all_item_vectors

if TYPE_CHECKING:
    from conf.schema import Config

RANKS = 100
Scorer = Callable[[np.ndarray], tuple[Tensor, Tensor]]
"""User rows [B] to scores of all items [B, I], and which of these users the towers could speak for [B]."""
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


def queries_of(dataset: PreparedDataset) -> HeldOut:
    """The queries of the test part.

    Raises:
        ValueError: no user has a test interaction with an item not seen before.
    """
    held_out = HeldOut.of(dataset, TEST)
    if not len(held_out.user_rows_Q):
        raise ValueError("test part: no user has an item there that is new to them; change data.split")
    return held_out


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


def _rank(scores: Scorer, held_out: HeldOut, batch_size: int, k: int) -> Ranking:
    parts = []
    for at in _chunks(len(held_out.user_rows_Q), batch_size):
        user_rows_B = held_out.user_rows_Q[at]
        scores_BI, by_towers_B = scores(user_rows_B)
        rows_BK, scores_BK = top_k(mask_seen(scores_BI, held_out.seen, user_rows_B), k)
        rows_BK = torch.where(torch.isinf(scores_BK), -1, rows_BK)
        parts.append(tuple(t.cpu().numpy() for t in (rows_BK, scores_BK, by_towers_B)))
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _metric_order(entry: tuple[str, float]) -> tuple[int, int]:
    name, _, k = entry[0].partition("@")
    return METRICS.index(name), int(k)


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _keys(interactions: Any, num_items: int) -> np.ndarray:
    users = interactions["user_row"].to_numpy().astype(np.int64)
    return users * num_items + interactions["item_row"].to_numpy()


def task(config: "Config") -> dict[str, Any]:
    """Entry point: measures `checkpoint` (default: the one that this config trains)."""
    from conf.session import connect, show
    from towers.checkpoint import open_for

    connect(config.cluster)
    checkpoint, dataset = open_for(config)
    report = evaluate(checkpoint.model, checkpoint.reranker, dataset, checkpoint.counts_I, config.evaluate)
    show(report.table(checkpoint.name))
    return {"checkpoint": str(checkpoint.folder), **report.as_json()}


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.evaluate")
