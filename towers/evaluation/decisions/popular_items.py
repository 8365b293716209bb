"""Which items are popular for users of whom nothing is known: by all interactions, or by the latest ones alone.

What is popular changes in some logs within weeks, and in others not in years. The validation part, which comes after
what the towers were fitted on, says which it is.

Shape legend: Q queries, I items (row 0 = unknown).
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from data.dataset.prepared import PreparedDataset
from towers.evaluation.decisions.placement import accuracy
from towers.evaluation.intervals import MIN_USERS, SEED, intervals
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import rank_by_popularity
from towers.evaluation.recent_popularity import recent_counts
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder, popularity

RECENT_SHARE = 0.1
"""The share of the interactions, the latest ones, that are compared with all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PopularItems:
    """The decision, and what it rests on; checkpoints hold it in their manifests under `popular_items`.

    Attributes:
        recent_share: the share of the interactions, the latest ones, by which items are popular; None where all count.
        reason: why, in words.
        ndcg: nDCG@k of the validation queries by all interactions and by the latest ones.
        difference: [latest minus all, low, high], with a 95 % interval over users.
    """

    recent_share: float | None
    reason: str
    ndcg: dict[str, float] = field(default_factory=dict)
    difference: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        by = "all interactions" if self.recent_share is None else f"the latest {self.recent_share:.0%} of interactions"
        return f"by {by}; {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return asdict(self)


def recent_of(dataset: PreparedDataset, fit_on: FittedSplits, share: float | None) -> np.ndarray | None:
    """int64 [I]: interactions of each item among the latest share of these splits; None where all count."""
    return None if share is None else recent_counts(dataset, fit_on.splits, share, dataset.items.num_rows)


BY_ALL = PopularItems(recent_share=None, reason="there is no validation part to decide it on")


def decide_popular_items(
    held_out: HeldOut,
    counts_I: np.ndarray,
    recent_I: np.ndarray | None,
    k: int,
    batch_size: int,
    resamples: int,
    ties: TieOrder | None = None,
) -> PopularItems:
    """Compares both orders of items for all queries of the validation part.

    The latest interactions win if their nDCG@k is higher, with a 95 % interval over users above 0; with fewer than
    MIN_USERS users, all count.

    Args:
        counts_I: interactions of each item that the model was fitted on.
        recent_I: those among the latest RECENT_SHARE of them; None where the log has no times.
    """
    if recent_I is None:
        return PopularItems(recent_share=None, reason="the log has no times")
    if (num := len(held_out.user_rows_Q)) < MIN_USERS:
        return PopularItems(recent_share=None, reason=f"the validation part has {num} users, {MIN_USERS} are needed")
    orders = {"all": counts_I, "latest": popularity(counts_I, recent_I)}
    rankings = {name: rank_by_popularity(held_out, of_I, batch_size, k, ties) for name, of_I in orders.items()}
    ndcg_Q = {name: accuracy(of, held_out, len(counts_I), k)[f"ndcg@{k}"] for name, of in rankings.items()}
    change_Q = ndcg_Q["latest"] - ndcg_Q["all"]
    low, high = intervals(change_Q[:, None], SEED, resamples)[0].tolist()
    means = {name: float(of_Q.mean()) for name, of_Q in ndcg_Q.items()}
    said = f"ndcg@{k} on validation {means['latest']:.4f} by the latest {RECENT_SHARE:.0%}, {means['all']:.4f} by all"
    return PopularItems(
        recent_share=RECENT_SHARE if low > 0 else None,
        reason=said,
        ndcg=means,
        difference=[float(change_Q.mean()), low, high],
    )
